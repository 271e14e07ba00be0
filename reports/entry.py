"""Reading one certificate with its pictures, distrusting all of it.

A certificate may come from a stranger: sizes are capped, links are refused, a sheet must lie inside the
certificate's folder and have the bytes that the certificate names. That a certificate agrees with itself is the
schema's affair (`bench/record.py`).
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from bench.record import Certificate, CertificateError, Sheet, read_certificate
from reports.identity import identity

MIB = 2**20
MAX_CERTIFICATE = 16 * MIB
MAX_SHEET = 4 * MIB
MAX_SHEETS = 24 * MIB
MAX_SIDE = 8192

SHOWN_WIDTH = 420  # small sheets are enlarged by whole factors up to this width

PNG_HEADER = struct.Struct(">8s4x4sII")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A checked contact sheet, ready to stand inside a page."""

    title: str
    captions: tuple[str, ...]
    attack: str | None
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
    """A certificate that may be shown, with the pictures of its end, of its rounds and of its evolution."""

    certificate: Certificate
    sheets: tuple[Picture, ...]
    round_sheets: dict[int, Picture]
    evolution: dict[int, Picture]

    @cached_property
    def slug(self) -> str:
        """A file name: what it is about, and a hash of all it says."""
        content = self.certificate.model_dump_json().encode()
        parts = (self.certificate.dataset, self.certificate.subject)
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
    if certificate.human and certificate.human.certificate != identity(certificate):
        raise CertificateError(f"{path}: human: what people said of another certificate; merge the marks again")
    return certificate


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
        {
            step.index: take(step.sheet, f"evolution.{number}.sheet")
            for number, step in enumerate(certificate.evolution)
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
    return Picture(sheet.title, sheet.captions, sheet.attack, data, width, height)


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
