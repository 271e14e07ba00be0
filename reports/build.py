"""From certificates to a site: an index, one page and one badge per certificate, and the same for machines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench.files import write_whole
from bench.record import CertificateError
from reports import machine, pages
from reports.board import Row, group_of
from reports.entry import Entry, read_entry
from reports.identity import identity
from reports.ledger import LEDGER, Ledger, Verification, read_ledger
from reports.pages import BADGE, GENERATOR, Pictures

CERTIFICATE_NAME = "certificate.json"
MAX_DEPTH = 4  # folders below a given one that are searched
OURS = {  # what an earlier build wrote: folder -> names, and the mark inside
    "certificates": (re.compile(r"[a-z0-9-]+-[0-9a-f]{12}\.html"), GENERATOR),
    "badges": (re.compile(r"[a-z0-9-]+-[0-9a-f]{12}\.svg"), BADGE),
}
MAX_PAGE = 1_500_000  # bytes of a certificate's page, images included
PICTURES = (800_000, 250_000, 0)  # bytes of images that a page may hold; the next where it grows too large
ALONE = 64  # certificates that one process makes faster than several


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


def build(certificates: list[Path], out: Path, ledger: Path = LEDGER) -> Path:
    """Write the leaderboard of `certificates` to the folder `out` and return its `index.html`.

    A certificate that can't be read is named on the page, with the reason; one that `ledger` does not have is shown
    as not verified.

    Raises:
        LedgerError: the ledger can't be read.
    """
    return build_site(certificates, out, ledger).index


def build_site(certificates: list[Path], out: Path, ledger: Path = LEDGER) -> Site:
    """As `build`, and say what was refused. The index is written last: it never links to a missing page."""
    rows, refusals = {}, []
    for made in _made(certificates, out, read_ledger(ledger)):
        if isinstance(made, Refusal):
            refusals.append(made)
        else:
            rows[made.slug] = made
    ordered = [rows[slug] for slug in sorted(rows)]
    refused = [
        machine.Refused(file=machine.name(one.short_path), reason=machine.sentence(one.reason)) for one in refusals
    ]
    table = machine.Table(certificates=tuple(row.summary for row in ordered), refused=tuple(refused))
    write_whole(out / "data.json", machine.as_json(table).encode())
    write_whole(out / "table.csv", machine.as_csv(table).encode())
    write_whole(out / "schema.json", machine.schema().encode())
    index = out / "index.html"
    write_whole(index, pages.index_page(ordered, refused).encode())
    _remove_old(out, rows.keys())
    return Site(index, len(rows), refusals)


def _made(certificates: list[Path], out: Path, ledger: Ledger) -> Iterator[Row | Refusal]:
    """Each certificate's page and badge, in the order given; many are shared among processes."""
    workers = min(os.cpu_count() or 1, 8)
    if len(certificates) <= ALONE or workers == 1:
        yield from (make(path, out, ledger) for path in certificates)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(make, out=out, ledger=ledger), certificates, chunksize=8)


def make(path: Path, out: Path, ledger: Ledger) -> Row | Refusal:
    """Write one certificate's page and badge, or say why not."""
    try:
        entry = read_entry(path)
        certificate = entry.certificate
        outdated = certificate.certified and certificate.earlier  # `verify` refuses it today
        verification = None if outdated else ledger.get(identity(certificate))
        page = _page(path, entry, verification)
    except CertificateError as error:
        return Refusal(path, str(error).removeprefix(f"{path}: "))
    slug = entry.slug
    write_whole(out / "certificates" / f"{slug}.html", page.encode(), flush=False)
    write_whole(out / "badges" / f"{slug}.svg", pages.badge(certificate).encode(), flush=False)
    return Row(slug, machine.summarise(certificate, slug, verification is not None), group_of(certificate))


def _page(path: Path, entry: Entry, verification: Verification | None) -> str:
    """The page with as many pictures as it may hold.

    Raises:
        CertificateError: even without pictures it is too large.
    """
    for room in PICTURES:
        page = pages.certificate_page(entry, _chosen(entry, room), entry.slug, verification)
        if len(page.encode()) <= MAX_PAGE:
            return page
    raise CertificateError(f"{path}: its page would exceed {MAX_PAGE // 1000} kB; too large to be shown")


def _chosen(entry: Entry, room: int) -> Pictures:
    """This model's sheets, the control's, the evolution, then rounds.

    Of the last two the last, the first, then those in the middle of the widest gaps.
    """
    sheets, evolution, rounds = [], {}, {}
    for picture in sorted(entry.sheets, key=lambda picture: "control" in picture.title):
        room -= len(picture.data)
        if room >= 0:
            sheets.append(picture)
    for chosen, among in ((evolution, entry.evolution), (rounds, entry.round_sheets)):
        indices = sorted(among)
        for place in _spread_out(len(indices)):
            picture = among[indices[place]]
            room -= len(picture.data)
            if room >= 0:
                chosen[indices[place]] = picture
    return Pictures(sheets, rounds, evolution)


def _spread_out(total: int) -> list[int]:
    """0 to total - 1, so that any beginning of the list is spread over all of it."""
    order, gaps = list(dict.fromkeys([total - 1, 0]))[: total and 2], [(0, total - 1)]
    for low, high in gaps:
        middle = (low + high) // 2
        if low < middle < high:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return order


def _remove_old(out: Path, current: Iterable[str]) -> None:
    """Remove what an earlier build wrote for certificates that are gone, and nothing else."""
    for folder, (names, mark) in OURS.items():
        for file in sorted((out / folder).glob("*")):
            if names.fullmatch(file.name) and file.stem not in current and file.is_file():
                with file.open(encoding="utf-8", errors="replace") as opened:
                    ours = mark in opened.read(2000)
                if ours:
                    file.unlink()
