"""How numbers and names are written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from reports import words
from tests.reports.sample import document, parsed

RATES = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize(
    ("rate", "against", "written"),
    [
        (0.5, None, "50.0%"),
        (0.0, 0.01, "0.0%"),
        (1.0, None, "100.0%"),
        (0.9996, None, "99.96%"),
        (0.0004, None, "0.04%"),
        (0.95, 0.95, "95.0%"),
        (0.94996, 0.95, "94.996%"),
        (0.00997, 0.01, "0.997%"),
        (None, 0.95, "\N{EN DASH}"),
    ],
)
def test_percent(rate, against, written):
    assert words.percent(rate, against) == written


@given(RATES, RATES)
def test_percent_never_crosses_a_threshold(rate, against):
    shown = float(words.percent(rate, against)[:-1]) / 100
    if rate - against > 1e-6:
        assert shown > against
    if against - rate > 1e-6:
        assert shown < against


@pytest.mark.parametrize(
    ("number", "full", "short"),
    [
        (0, "0", "0"),
        (999, "999", "999"),
        (4_120_000, "4\u202f120\u202f000", "4.12\u202fM"),
        (10**400, "over 10^15", "over 10^15"),
    ],
)
def test_counts(number, full, short):
    assert words.count(number) == full
    assert words.compact(number) == short


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.0, "0 s"), (12.34, "12.3 s"), (148.2, "2 min 28 s"), (7265, "2 h 01 min")]
)
def test_duration(seconds, written):
    assert words.duration(seconds) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-24T06:12:31Z", "2026-11-24 06:12 UTC"),
        ("2026-11-24T01:12:31+02:00", "2026-11-23 23:12 UTC"),
        ("yesterday", "yesterday"),
        ("2026-11-24", "2026-11-24"),
        ("0001-01-01T00:00:00+23:00", "0001-01-01T00:00:00+23:00"),
    ],
)
def test_moments(text, written):
    shown = words.moment(text)
    assert shown.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NON-BREAKING HYPHEN}", "-") == written
    assert " " not in shown


def test_huge_durations_are_written():
    assert words.duration(1e308).startswith("over 10^15 h")


def test_allowed_tells_the_direction(tmp_path):
    criteria = parsed(document(tmp_path)).criteria
    assert words.allowed(criteria[0]) == "≥ 95%"
    assert words.allowed(criteria[8], ">=", "<=") == "<= 1%"


@pytest.mark.parametrize(("value", "written"), [(0.0, "0"), (2.0, "2"), (0.97333, "0.9733"), (-1.7e308, "over 10^15")])
def test_lone_figures(value, written):
    assert words.lone(value) == written


def test_clean_replaces_what_steers_a_terminal_or_turns_text_around():
    assert words.clean("a\x1b[31m\u202eb\n") == "a\ufffd[31m\ufffdb\n"
    assert words.clean("é ✓ 数") == "é ✓ 数"
    assert words.clean(3) == 3


def test_clean_keeps_markup_apart_from_text():
    assert isinstance(words.clean(Markup("<b>\x00</b>")), Markup)
    assert not isinstance(words.clean("<b>\x00</b>"), Markup)


def test_breakable_escapes():
    assert str(words.breakable("a_<b>")) == "a_<wbr>&lt;b&gt;"


def test_a_column_has_one_number_of_decimals():
    assert words.decimals_for([0.5, 0.25]) == 3
    assert words.decimals_for([0.5, 12.0]) == 1
    assert words.decimals_for([]) == 3
    assert words.figure(1e300, 1) == "1e+300"


@given(RATES)
def test_bounds_are_rounded_outward(rate):
    over, under = (Decimal(way(rate)[:-1]) / 100 for way in (words.at_most, words.at_least))
    assert under <= Decimal(str(rate)) <= over
    assert over - under <= Decimal("0.00001")


def test_outward_rounding_starts_from_the_number_as_it_is_written():
    assert words.at_most(0.9) == words.at_least(0.9) == "90.000%"
    assert words.at_most(5e-324) == "0.001%"


@pytest.mark.parametrize(("text", "length", "written"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("", 3, "")])
def test_clipped(text, length, written):
    assert words.clipped(text, length) == written
