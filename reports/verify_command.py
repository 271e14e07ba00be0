"""`python -m reports verify`: check what others hand in, and remember what passed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from bench.record import CertificateError, ContradictionError
from reports.entry import Entry, read_checked, read_entry
from reports.identity import identity
from reports.ledger import LEDGER, Verification, enter, read_ledger, today
from reports.words import clipped, one_line

VERIFY = """\
Check results that others hand in: a folder is a run's own directory, as `pytest suites/` left it.
Stored images are scored again with the stored weights, and every figure that follows is computed again on the CPU.
What differs is refused by field or file. What can't be computed from what is stored is named as taken on trust.
Nothing is written to the folder; what passes is remembered in a ledger, by which `build` marks rows as verified.

example:
  python -m reports verify results/alice/digits-fakeclass-0-1a2b3c --data-root data

exit status: 0 all verified, 1 refused, 2 not readable"""

VERIFIED, REFUSED, NOT_READABLE = range(3)
MOST = 50  # differences that are listed of one folder
LONGEST = 600  # characters of a line


def add_command(command: Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]) -> None:
    """`command` adds it by name, description and function."""
    verify = command("verify", VERIFY, run_verify)
    verify.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run's directory")
    add_data_root(verify)
    verify.add_argument("--download", action="store_true", help="fetch a data set that is missing")
    verify.add_argument("--dataset", metavar="folder:PATH", help="where a result's own folder of images lies here")
    verify.add_argument(
        "--trust-code",
        action="store_true",
        help="import a network or defense that a result names as module:attr; only with code that you have read",
    )
    add_ledger(verify)


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """`--data-root`, for the commands that score images."""
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("DISTAL_DATA_ROOT", "data")),
        metavar="DIR",
        help="where data sets lie (default: $DISTAL_DATA_ROOT, else data)",
    )


def add_ledger(parser: argparse.ArgumentParser) -> None:
    """`--ledger`, for the command that writes it and the one that reads it."""
    parser.add_argument(
        "--ledger",
        type=Path,
        default=LEDGER,
        metavar="FILE",
        help=f"what was verified (default: {LEDGER.parent.name}/{LEDGER.name} beside the code)",
    )


def run_verify(arguments: argparse.Namespace) -> int:
    read_ledger(arguments.ledger)  # one that can't be read would waste all that follows
    return max(_verify(folder, arguments) for folder in arguments.folders)


def _verify(folder: Path, arguments: argparse.Namespace) -> int:
    path = folder / "certificate.json"
    try:
        certificate = read_checked(path)
    except ContradictionError as error:
        return _refuse(folder, [str(error).removeprefix(f"{path}: ")])
    except CertificateError as error:
        return _tell(f"not readable: {error}", NOT_READABLE)
    try:
        entry = read_entry(path)
    except CertificateError as error:
        return _refuse(folder, [str(error).removeprefix(f"{path}: ")])
    return _audit(folder, entry, arguments, f"{certificate.subject} on {certificate.dataset}")


def _audit(folder: Path, entry: Entry, arguments: argparse.Namespace, what: str) -> int:
    from bench.audit.audit import NotReadableError, audit  # torch: not for those who only build pages

    with tqdm(bar_format="{desc} [{elapsed}]", file=sys.stderr, leave=False, disable=None, dynamic_ncols=True) as bar:
        try:
            answer = audit(
                folder,
                entry.certificate,
                _pictures(entry),
                data_root=arguments.data_root,
                download=arguments.download,
                dataset=arguments.dataset,
                trust_code=arguments.trust_code,
                say=lambda step: bar.set_description_str(one_line(f"{folder}: {step}")),
            )
        except NotReadableError as error:
            return _tell(f"not readable: {folder}: {error}", NOT_READABLE)
    if answer.differences:
        return _refuse(folder, [*map(str, answer.differences), *(f"note: {note}" for note in answer.notes)])
    trusted = tuple(clipped(one_line(sentence), LONGEST) for sentence in answer.trusted)
    verification = Verification(
        revision=answer.revision, packages=answer.packages, date=today(), taken_on_trust=trusted
    )
    enter(arguments.ledger, identity(entry.certificate), verification)
    print(one_line(f"verified: {folder}: {what}, {answer.images} images scored again by revision {answer.revision}"))
    for sentence in trusted:
        print(f"  taken on trust: {sentence}")
    for note in answer.notes:
        print(clipped(one_line(f"note: {note}"), LONGEST))
    return VERIFIED


def _pictures(entry: Entry) -> dict[str, bytes]:
    """Contact sheets by their file names, checked against their hashes."""
    certificate = entry.certificate
    pictures = {sheet.file: picture.data for sheet, picture in zip(certificate.sheets, entry.sheets, strict=True)}
    rounds = {round_.sheet.file: entry.round_sheets[round_.index].data for round_ in certificate.rounds if round_.sheet}
    evolution = {step.sheet.file: entry.evolution[step.index].data for step in certificate.evolution}
    return pictures | rounds | evolution


def _refuse(folder: Path, reasons: list[str]) -> int:
    for reason in reasons[:MOST]:
        _tell(f"refused: {folder}: {reason}", REFUSED)
    if len(reasons) > MOST:
        _tell(f"refused: {folder}: and {len(reasons) - MOST} more", REFUSED)
    return REFUSED


def _tell(line: str, status: int) -> int:
    print(clipped(one_line(line), LONGEST), file=sys.stderr)
    return status
