"""From certificates to pages: an index, and one page per certificate, each complete in itself."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.record import Certificate, CertificateError, CriterionRecord, VerdictName
from reports import charts, proof_chart, standing, words
from reports.entry import Entry, read_entry
from reports.files import write_atomically

CERTIFICATE_NAME = "certificate.json"
MAX_DEPTH = 4  # folders below a given one that are searched
PAGE_NAME = re.compile(r"[a-z0-9-]+-[0-9a-f]{12}\.html")
GENERATOR = '<meta name="generator" content="Distal">'


@dataclass(frozen=True)
class Refusal:
    """A certificate that is not shown, and why."""

    path: Path
    reason: str

    @property
    def short_path(self) -> str:
        """Enough to find it, without the folders of whoever built the page."""
        return "/".join(self.path.parts[-2:])


@dataclass(frozen=True)
class Row:
    """One model of the leaderboard."""

    slug: str
    certificate: Certificate

    @property
    def group(self) -> tuple:
        """What rows must share to be compared."""
        certificate = self.certificate
        threat = certificate.threat
        return (certificate.dataset, certificate.image_shape, threat.k, threat.p, certificate.class_names)

    @property
    def order(self) -> tuple:
        """Certified first, then by score."""
        certificate = self.certificate
        score = -1.0 if certificate.score is None else certificate.score
        return (not certificate.certified, -score, certificate.defense, self.slug)


@dataclass(frozen=True)
class Site:
    """What a build wrote, and what it refused."""

    index: Path
    certificates: int
    refusals: list[Refusal]


def find_certificates(paths: Iterable[Path]) -> list[Path]:
    """Files as given, and every `certificate.json` up to four folders below the folders given.

    Linked folders are not entered.

    Raises:
        FileNotFoundError: a path leads nowhere.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        for certificate in _search(path) if path.is_dir() else [path]:
            found.setdefault(certificate.absolute(), certificate)
    return list(found.values())


def _search(folder: Path) -> Iterable[Path]:
    for where, folders, files in os.walk(folder):
        here = Path(where)
        folders.sort()
        if len(here.relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        if CERTIFICATE_NAME in files:
            yield here / CERTIFICATE_NAME


def build(certificates: list[Path], out: Path) -> Path:
    """Write the leaderboard of `certificates` to the folder `out` and return its `index.html`.

    A certificate that can't be read is named on the page, with the reason.
    """
    return build_site(certificates, out).index


def build_site(certificates: list[Path], out: Path) -> Site:
    """As `build`, and say what was refused. The index is written last: it never links to a missing page."""
    pages, rows, refusals = _environment(), {}, []
    for path in certificates:
        try:
            entry = read_entry(path)
        except CertificateError as error:
            refusals.append(Refusal(path, str(error).removeprefix(f"{path}: ")))
            continue
        page = pages.get_template("certificate.html").render(**_certificate_page(entry))
        write_atomically(out / "certificates" / f"{entry.slug}.html", page)
        rows[entry.slug] = Row(entry.slug, entry.certificate)
    index = out / "index.html"
    write_atomically(index, pages.get_template("index.html").render(**_index_page(rows.values(), refusals)))
    _remove_old_pages(out / "certificates", rows.keys())
    return Site(index, len(rows), refusals)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for write in (
        words.allowed,
        words.breakable,
        words.compact,
        words.count,
        words.duration,
        words.label,
        words.lone,
        words.percent,
    ):
        environment.filters[write.__name__] = write
    for place in (
        charts.class_table,
        charts.mean_columns,
        charts.outcome_names,
        charts.stacked,
        charts.success,
        standing.between,
        standing.fooled_sentence,
        standing.level,
        standing.not_fooled,
        standing.proof_values,
        standing.proved_sentence,
    ):
        environment.globals[place.__name__] = place
    environment.globals.update(
        criteria=words.CRITERIA,
        generator=GENERATOR,
        marks=words.MARKS,
        nothing=words.NOTHING,
        outcomes=words.OUTCOMES,
    )
    return environment


def _index_page(rows: Iterable[Row], refusals: list[Refusal]) -> dict:
    ordered = sorted(rows, key=lambda row: (row.group, row.order))
    groups = [list(group) for _, group in itertools.groupby(ordered, key=lambda row: row.group)]
    return {"groups": groups, "refusals": refusals, "broken": _broken, "test_accuracy": _test_accuracy}


def _certificate_page(entry: Entry) -> dict:
    certificate = entry.certificate
    return {
        "c": certificate,
        "broken": _broken(certificate),
        "chart": charts.rounds_chart(certificate.rounds),
        "proof_charts": proof_chart.proof_charts(certificate),
        "round_sheets": entry.round_sheets,
        "sheets": entry.sheets,
        "test_accuracy": _test_accuracy(certificate),
    }


def _broken(certificate: Certificate) -> list[CriterionRecord]:
    """What keeps a model from its certificate: failures first, then what stayed open."""
    order = (VerdictName.FAIL, VerdictName.INCONCLUSIVE)
    broken = [criterion for criterion in certificate.criteria if criterion.verdict in order]
    return sorted(broken, key=lambda criterion: order.index(criterion.verdict))


def _test_accuracy(certificate: Certificate) -> float | None:
    """Accuracy on real test data; criterion 10 may be decided on another rate, and then logs this one."""
    last = certificate.criteria[10]
    logged = last.figures.get("accuracy")
    return logged if logged is not None and 0 <= logged <= 1 else last.observed


def _remove_old_pages(folder: Path, current: Iterable[str]) -> None:
    """Remove the pages of certificates that are gone, and only what an earlier build wrote."""
    for page in sorted(folder.glob("*.html")):
        if PAGE_NAME.fullmatch(page.name) and page.stem not in current and page.is_file():
            with page.open(encoding="utf-8", errors="replace") as file:
                ours = GENERATOR in file.read(2000)
            if ours:
                page.unlink()
