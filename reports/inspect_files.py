"""The two files of an inspection: the marks that a page exports, and the key that tells what its images are.

Marks come from strangers: sizes are capped, types are strict, and whatever fits no page is refused by name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from bench.record import InspectionError, Record, Sha256
from reports.words import clean, clipped

MIB = 2**20
MAX_FILE = 1 * MIB
MAX_IMAGES = 1000
SHOWN = 80  # characters of a stranger's text in a message

Text = Annotated[str, Field(strict=True, max_length=200)]
Truth = Annotated[bool, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]


class Mark(Record):
    """What one person said of one image."""

    item: Sha256
    real: Truth = Field(description="could it be real")
    label: Text | None = Field(description="which class; absent: not real, or not sure which")
    seconds: Annotated[Number, Field(ge=0, le=86_400)] = Field(description="from seeing it to saying so")


class Marks(Record):
    """What a page exports."""

    schema_version: Literal[1]
    certificate: Sha256 = Field(description="reports.identity of the certificate")
    page: Sha256
    rater: Annotated[str, Field(strict=True, max_length=80)]
    marks: Annotated[tuple[Mark, ...], Field(max_length=MAX_IMAGES)]


class KeyItem(Record):
    """What one image is."""

    kind: Literal["real", "generated"]
    attack: str | None
    place: Literal["control", "final"] | None = Field(description="network that a generated image was made on")
    label: str = Field(description="its class; of a generated image, the class that it was to be taken for")
    score: float = Field(description="the measuring judge's")
    rejected_working: bool
    rejected_strict: bool


class Key(Record):
    """What a page's images are; whoever looks at them must not have it."""

    schema_version: Literal[1] = 1
    certificate: Sha256
    page: Sha256 = Field(description="SHA-256 over all that follows, so that no key can be changed afterwards")
    items: Annotated[dict[Sha256, KeyItem], Field(max_length=MAX_IMAGES)]


Model = TypeVar("Model", Marks, Key)


@dataclass(frozen=True)
class Exported:
    """One person's marks, and the file they came in."""

    path: Path
    sha256: str
    marks: Marks


def page_id(certificate: str, items: dict[str, KeyItem]) -> str:
    """A page's name: SHA-256 over its certificate, its images' ids and all that the key says of them."""
    content = [certificate, {item: known.model_dump(mode="json") for item, known in items.items()}]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_key(path: Path) -> Key:
    """Read a page's key.

    Raises:
        InspectionError: it can't be read, doesn't match the schema, or was changed since its page was made.
    """
    key = _parsed(Key, _capped(path), path, "a key: FILE.key.json, which `python -m reports inspection` wrote")
    if page_id(key.certificate, key.items) != key.page:
        raise InspectionError(f"{path}: changed since its page was made; expected the key as it was written")
    return key


def read_marks(path: Path) -> Exported:
    """Read one person's exported marks.

    Raises:
        InspectionError: it can't be read, is too large, or doesn't match the schema.
    """
    data = _capped(path)
    marks = _parsed(Marks, data, path, "the file that an inspection page saved")
    return Exported(path, hashlib.sha256(data).hexdigest(), marks)


def quoted(text: str) -> str:
    """A stranger's text in a message."""
    return repr(clipped(clean(text), SHOWN))


def _capped(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InspectionError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise InspectionError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise InspectionError(f"{path}: larger than {MAX_FILE // MIB} MiB; expected the marks of one page")
    return data


def _parsed(model: type[Model], data: bytes, path: Path, expected: str) -> Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = clipped(".".join(map(str, first["loc"])), SHOWN) or "the whole file"
        got = quoted(str(first.get("input")))
        raise InspectionError(f"{path}: {where}: {first['msg']}; got {got}; expected {expected}") from None
