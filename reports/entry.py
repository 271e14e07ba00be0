"""Reading one certificate with its pictures, distrusting all of it.

A certificate may come from a stranger: sizes are capped, links are refused, a sheet must lie inside the
certificate's folder and have the bytes that the certificate names, and the claim `certified` must follow
from the verdicts.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from bench.record import Certificate, CertificateError, Sheet, VerdictName, read_certificate
from reports import words

MIB = 2**20
MAX_CERTIFICATE = 16 * MIB
MAX_SHEET = 4 * MIB
MAX_SHEETS = 24 * MIB
MAX_SIDE = 8192

HISTORY = frozenset({2, 3, 4, 5})  # criteria about the training's history; scope `model` does without
SHOWN_WIDTH = 420  # small sheets are enlarged by whole factors up to this width

PNG_HEADER = struct.Struct(">8s4x4sII")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A checked contact sheet, ready to stand inside a page."""

    title: str
    captions: tuple[str, ...]
    data: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.data).decode('ascii')}"

    @property
    def scale(self) -> int:
        return max(1, SHOWN_WIDTH // self.width)


@dataclass(frozen=True)
class Entry:
    """A certificate that may be shown, with the pictures of its rounds and of its end."""

    certificate: Certificate
    sheets: tuple[Picture, ...]
    round_sheets: dict[int, Picture]

    @cached_property
    def slug(self) -> str:
        """A file name: what it is about, and a hash of all it says."""
        content = self.certificate.model_dump_json().encode()
        parts = (self.certificate.dataset, self.certificate.defense)
        return "-".join([*map(safe_name, parts), hashlib.sha256(content).hexdigest()[:12]])


def safe_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "unnamed"


def read_checked(path: Path) -> Certificate:
    """Read one certificate, without its pictures.

    Raises:
        CertificateError: it can't be read, doesn't match the schema, is too large, or contradicts itself.
    """
    if path.is_symlink():
        raise CertificateError(f"{path}: a symbolic link; give the file that it points to")
    if path.exists() and not path.is_file():
        raise CertificateError(f"{path}: not a regular file; expected a certificate.json")
    if path.exists() and path.stat().st_size > MAX_CERTIFICATE:
        raise CertificateError(f"{path}: larger than {MAX_CERTIFICATE // MIB} MiB; too large to be shown")
    certificate = read_certificate(path)
    for contradiction in _contradictions(certificate):
        raise CertificateError(f"{path}: {contradiction}")
    return certificate


def _contradictions(certificate: Certificate) -> Iterator[str]:
    ids = [criterion.id for criterion in certificate.criteria]
    if ids != list(range(11)):
        yield f"criteria: expected the ids 0 to 10 in this order; got {ids}"
    indices = [round_.index for round_ in certificate.rounds]
    if len(set(indices)) != len(indices):
        yield f"rounds: each index may stand once; got {indices[:40]}"
    yield from _proof_contradictions(certificate)
    if not certificate.certified:
        return
    if certificate.budget.name == "quick":
        yield "certified: the quick budget can't certify; expected false"
    skipped = HISTORY if certificate.scope == "model" else frozenset()
    for criterion in certificate.criteria:
        if criterion.verdict is not VerdictName.PASS and criterion.id not in skipped:
            yield f"certified: criterion {criterion.id} is {criterion.verdict.value}; expected false"


def _proof_contradictions(certificate: Certificate) -> Iterator[str]:
    """What is proved and what fools can't overlap, and each is said once more where it comes from."""
    proof, frontier, threat = certificate.proof, certificate.frontier, certificate.threat
    proved, fooled = certificate.proved_to, certificate.fooled_from
    source = proof.proved_to if proof else None
    if proved != source:
        yield f"proved_to: {words.count(proved)}, but proof.proved_to is {words.count(source)}; expected the same"
    if frontier and fooled != frontier.fooled_from:
        found = words.count(frontier.fooled_from)
        yield f"fooled_from: {words.count(fooled)}, but the frontier's is {found}; expected the same"
    if proved is not None and fooled is not None and fooled <= proved:
        yield f"proved_to: {words.count(proved)}, yet fooled_from is {words.count(fooled)}; expected more"
    highest = max(threat.operating_point, default=threat.p)
    for number, row in enumerate(proof.rows if proof else ()):
        if row.k == proved and row.linear >= highest:
            yield f"proof.rows.{number}: a bound of {row.linear} at what is proved; expected less than {highest}"


def read_entry(path: Path) -> Entry:
    """Read one certificate and every sheet it names.

    Raises:
        CertificateError: as `read_checked`, or a sheet is missing, changed, too large, no PNG, or elsewhere.
    """
    certificate = read_checked(path)
    room = MAX_SHEETS

    def take(sheet: Sheet, field: str) -> Picture:
        nonlocal room
        try:
            picture = _read_sheet(path.parent, sheet)
        except (OSError, ValueError) as error:
            raise CertificateError(f"{path}: {field}: sheet {sheet.file[:200]!r}: {error}") from None
        room -= len(picture.data)
        if room < 0:
            raise CertificateError(f"{path}: {field}: all sheets together exceed {MAX_SHEETS // MIB} MiB")
        return picture

    return Entry(
        certificate,
        tuple(take(sheet, f"sheets.{number}") for number, sheet in enumerate(certificate.sheets)),
        {
            round_.index: take(round_.sheet, f"rounds.{number}.sheet")
            for number, round_ in enumerate(certificate.rounds)
            if round_.sheet is not None
        },
    )


def _read_sheet(folder: Path, sheet: Sheet) -> Picture:
    file = _inside(folder, sheet.file)
    if not file.is_file():
        raise ValueError("missing, or not a regular file")
    if file.stat().st_size > MAX_SHEET:
        raise ValueError(f"larger than {MAX_SHEET // MIB} MiB")
    data = file.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sheet.sha256:
        raise ValueError(f"changed since it was certified: SHA-256 is {found}, expected {sheet.sha256}")
    width, height = _png_size(data)
    return Picture(sheet.title, sheet.captions, data, width, height)


def _inside(folder: Path, name: str) -> Path:
    """The file called `name` in `folder`, wherever links lead; never outside of it."""
    relative = PurePosixPath(name)
    if "\0" in name or "\\" in name or relative.is_absolute() or ".." in relative.parts:
        raise ValueError("expected a path relative to the certificate's folder, without '..' or '\\'")
    home = folder.resolve()
    file = (home / relative).resolve()
    if not file.is_relative_to(home):
        raise ValueError("a link leads out of the certificate's folder")
    return file


def _png_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    if len(data) < PNG_HEADER.size:
        raise ValueError("not a PNG image")
    signature, chunk, width, height = PNG_HEADER.unpack_from(data)
    if signature != PNG_SIGNATURE or chunk != b"IHDR":
        raise ValueError("not a PNG image")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"{width} x {height} pixels; expected at most {MAX_SIDE} a side")
    return width, height
