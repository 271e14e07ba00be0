"""What was verified, kept by whoever builds the site: a claim inside a stranger's folder would prove nothing."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError

from bench.files import write_whole
from bench.record import CertificateError, Record, Sha256

LEDGER = Path(__file__).with_name("verified.json")


class Verification(Record):
    """One check that a certificate passed."""

    revision: str = Field(description="git commit of the code that checked it")
    packages: dict[str, str]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] = Field(description="UTC")
    taken_on_trust: tuple[str, ...] = Field(description="what can't be computed from what is stored")


Ledger = Mapping[str, Verification]
"""A certificate's identity (`reports.identity`) -> the check that it passed."""
_SCHEMA = TypeAdapter(dict[Sha256, Verification])


class LedgerError(CertificateError):
    """A ledger that can't be read: names the file, the entry and what to do."""


def read_ledger(path: Path) -> Ledger:
    """Read a ledger; one that is missing has verified nothing.

    Raises:
        LedgerError: it can't be read.
    """
    try:
        return _SCHEMA.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}; expected a ledger of `python -m reports verify`") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise LedgerError(f"{path}: {where}: {first['msg']}; delete the entry and verify again") from None


def enter(path: Path, key: str, verification: Verification) -> None:
    """Add one check, or replace the one before; the file is written whole, its entries in order, one writer at a time.

    Raises:
        LedgerError: the file is there and can't be read.
    """
    with FileLock(path.with_name(f".{path.name}.lock")):
        entries = {**read_ledger(path), key: verification}
        content = {name: entries[name].model_dump(mode="json") for name in sorted(entries)}
        write_whole(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode(), mode=0o644)


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
