"""Exported marks -> the certificate's human column. What does not fit is refused by name, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

from bench.files import write_whole
from bench.record import Certificate, HumanRater, HumanRecord, InspectionError
from reports.build import CERTIFICATE_NAME
from reports.entry import read_checked
from reports.identity import identity
from reports.inspect_figures import figures, kappa, majority, opinions
from reports.inspect_files import Exported, Key, Mark, quoted, read_key, read_marks

MAX_FILES = 100
LEAST_SHARE = 0.5  # of a page's images that a person marks: who skips more may skip what is hard
SAME_SHARE = 0.5  # equal marks, to the hundredth of a second, from which two files are one inspection


def merge(files: Sequence[Path], path: Path, key_path: Path) -> tuple[Path, HumanRecord]:
    """Put what people said in the certificate's `human`, in place of what stood there -> (certificate, the record).

    Raises:
        CertificateError: the certificate can't be read.
        InspectionError: a file is not a page's marks, belongs elsewhere, or comes twice.
    """
    path = path / CERTIFICATE_NAME if path.is_dir() else path
    certificate, key = read_checked(path), read_key(key_path)
    if key.certificate != identity(certificate):
        raise InspectionError(
            f"{key_path}: the key of another certificate; expected one made for {path}: "
            "give the key beside it, or make a page with `python -m reports inspection`"
        )
    if len(files) > MAX_FILES:
        raise InspectionError(f"{len(files)} files; expected at most {MAX_FILES}")
    exported = [read_marks(file) for file in files]
    for problem in (*_misfits(exported, key, certificate), *_twice(exported)):
        raise InspectionError(problem)
    human = human_record(exported, key)
    merged = certificate.model_copy(update={"human": human})
    content = json.dumps(merged.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    write_whole(path, content.encode(), mode=0o644)
    return path, human


def human_record(exported: Sequence[Exported], key: Key) -> HumanRecord:
    """All figures, whatever the order of the files."""
    exported = sorted(exported, key=lambda one: (one.marks.rater, one.sha256))
    people = [opinions(one.marks.marks, key.items) for one in exported]
    pooled, ties = majority(people)
    return HumanRecord(
        certificate=key.certificate,
        page=key.page,
        images=len(key.items),
        real=sum(item.kind == "real" for item in key.items.values()),
        marks=sum(map(len, people)),
        ties=ties,
        pooled=figures(pooled, key.items),
        raters=tuple(
            HumanRater(
                name=one.marks.rater,
                file=one.sha256,
                seconds=median(mark.seconds for mark in one.marks.marks),
                figures=figures(said, key.items),
            )
            for one, said in zip(exported, people, strict=True)
        ),
        kappa=kappa(people),
    )


def _misfits(exported: Sequence[Exported], key: Key, certificate: Certificate) -> Iterator[str]:
    """What is wrong with each file by itself."""
    for path, marks in ((one.path, one.marks) for one in exported):
        if marks.certificate != key.certificate:
            yield f"{path}: marks of another certificate ({marks.certificate[:12]}); expected {key.certificate[:12]}"
        elif marks.page != key.page:
            yield f"{path}: marks of another page ({marks.page[:12]}); expected {key.page[:12]}: give that page's key"
        else:
            yield from (f"{path}: {problem}" for problem in _wrong_marks(marks.marks, key, certificate.class_names))


def _wrong_marks(marks: Sequence[Mark], key: Key, classes: Sequence[str]) -> Iterator[str]:
    for number, mark in enumerate(marks):
        if mark.item not in key.items:
            yield f"marks.{number}: item {mark.item[:12]} is not on the page; expected an image of it: save it again"
        if mark.label is not None and not mark.real:
            yield f"marks.{number}: a class for what is called not real; expected none: save it again"
        if mark.label is not None and mark.label not in classes:
            yield f"marks.{number}: class {quoted(mark.label)}; expected one of the certificate's: save it again"
    if len({mark.item for mark in marks}) < len(marks):
        yield "an image is marked twice; expected one mark an image: save it again"
    least = max(1, round(LEAST_SHARE * len(key.items)))
    if len(marks) < least:
        yield f"{len(marks)} marks; expected at least {least} of the page's {len(key.items)}: go on, and save again"


def _twice(exported: Sequence[Exported]) -> Iterator[str]:
    """One inspection given as two would count one person twice, and make people agree with each other."""
    for one, other in combinations(exported, 2):
        if one.sha256 == other.sha256:
            yield f"{other.path}: the same bytes as {one.path}; expected each file once: leave one out"
            continue
        equal = len(set(one.marks.marks) & set(other.marks.marks))
        if equal >= SAME_SHARE * min(len(one.marks.marks), len(other.marks.marks)):
            yield (
                f"{other.path}: {equal} marks are those of {one.path} to the hundredth of a second; expected another "
                "inspection: leave the older file out"
            )
