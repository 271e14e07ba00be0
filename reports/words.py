"""How names and numbers are written, on the pages and in the terminal alike."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple, TypeVar

from markupsafe import Markup, escape

from bench.record import CriterionRecord, VerdictName

NOTHING = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
UNUSUAL = re.compile(r"[^\n\t -~]")  # all but printable ASCII: looked up one by one

Text = TypeVar("Text")


class Mark(NamedTuple):
    """A verdict as a shape and a word, so that colour never tells it alone."""

    glyph: str
    word: str


MARKS = {
    VerdictName.PASS: Mark("✓", "pass"),
    VerdictName.FAIL: Mark("✕", "fail"),
    VerdictName.INCONCLUSIVE: Mark("?", "inconclusive"),
    VerdictName.NOT_APPLICABLE: Mark("\N{EN DASH}", "not applicable"),
}

OUTCOMES = {
    "fooling": "confident, sparse, rejected by the judge at its strict threshold",
    "borderline": "confident, sparse, rejected at the working threshold only",
    "in_distribution": "confident, sparse, taken for real data",
    "dense": "confident only: too many lit pixels",
    "unconfident": "sparse only: p not reached",
    "neither": "neither confident nor sparse",
}

CRITERIA = (
    "The attack yields confident, sparse images on an undefended network.",
    "What it yields is out of distribution, and the judge that says so is sound.",
    "The newest training images are detected.",
    "Every past round's training images are still detected.",
    "Fresh images made against the newest training network are detected.",
    "Fresh images made against every past round are detected.",
    "Images made against another, undefended network are detected.",
    "Images made by attacks that training did not use are detected.",
    "No attack of the ensemble fools the final network.",
    "Accuracy and confidence hold on real training data.",
    "Accuracy and confidence hold on real test data.",
)


def clean(value: Text) -> Text:
    """Text without control and direction characters, which could forge a terminal or a page; others as is."""
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    return type(value)(UNUSUAL.sub(_harmless, value))


def breakable(name: str) -> Markup:
    """A name that may break after what joins its parts."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_.:/])", name))


def one_line(text: str) -> str:
    """Text for one line of a terminal."""
    return " ".join(clean(text).split())


def cell(text: str) -> str:
    """Text for one cell of a table in Markdown, also between backquotes: it can end neither."""
    return one_line(text).replace("|", "\\|").replace("`", "'")


def _harmless(letter: re.Match[str]) -> str:
    return REPLACEMENT if unicodedata.category(letter[0]) in ("Cc", "Cf") else letter[0]


def clipped(text: str, length: int) -> str:
    """Text of at most so many characters, an ellipsis where it was cut."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def label(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")


def percent(rate: float | None, against: float | None = None, nothing: str = NOTHING) -> str:
    """A rate with one decimal, or as many as keep it on its own side of 0, 1 and the threshold `against`."""
    if rate is None:
        return nothing
    limits = [limit for limit in (0.0, 1.0, against) if limit is not None]
    written = ""
    for decimals in range(1, 6):
        written = f"{100 * rate:.{decimals}f}"
        rounded = round(float(written) / 100, 9)
        if all(_side(rounded, limit) == _side(rate, limit) for limit in limits):
            break
    return f"{written}%"


def at_most(rate: float) -> str:
    """An upper bound with three decimals, rounded up: what is written is still a bound."""
    return _directed(rate, ROUND_CEILING)


def at_least(rate: float) -> str:
    """What was reached with three decimals, rounded down."""
    return _directed(rate, ROUND_FLOOR)


def _directed(rate: float, way: str) -> str:
    return f"{(100 * Decimal(str(rate))).quantize(Decimal('0.001'), way)}%"


def _side(value: float, limit: float) -> int:
    return (value > limit) - (value < limit)


def allowed(criterion: CriterionRecord, at_least: str = "≥", at_most: str = "≤", nothing: str = NOTHING) -> str:
    """The threshold with its direction, e.g. `≥ 95%`."""
    if criterion.threshold is None:
        return nothing
    sign = at_least if criterion.direction == "at_least" else at_most
    return f"{sign} {100 * criterion.threshold:.6g}%"


def count(number: int | None) -> str:
    """A whole number with thin spaces between the thousands; beyond 10^15, only that."""
    if number is None:
        return NOTHING
    if abs(number) >= 10**15:
        return "over 10^15"
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def compact(number: int) -> str:
    """A large count to three digits: 1.23 M."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if size <= number < 10**15:
            return f"{number / size:.3g}\N{NARROW NO-BREAK SPACE}{unit}"
    return count(number)


def duration(seconds: float) -> str:
    """Seconds as the two largest units that matter."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{count(whole // 3600)} h {whole // 60 % 60:02d} min"


def moment(text: str) -> str:
    """An ISO 8601 time in minutes, in UTC and never broken; anything else as it is."""
    try:
        found = datetime.datetime.fromisoformat(text)
        if found.tzinfo is None:
            return text  # whose noon is not said
        found = found.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return text
    return f"{found:%Y-%m-%d %H:%M} UTC".replace(" ", NO_BREAK).replace("-", "\N{NON-BREAKING HYPHEN}")


def decimals_for(values: Iterable[float]) -> int:
    """Decimals that fit a whole column, so that its points line up."""
    largest = max((abs(value) for value in values), default=0)
    return next((decimals for limit, decimals in ((2, 3), (10, 2), (1000, 1)) if largest < limit), 0)


def lone(value: float) -> str:
    """A measured number that stands in no column."""
    return count(int(value)) if value.is_integer() else f"{value:.4g}"


def figure(value: float | None, decimals: int) -> str:
    """A measured number; very large ones in powers of ten."""
    if value is None:
        return NOTHING
    return f"{value:.3g}" if abs(value) >= 1e9 else f"{value:.{decimals}f}"
