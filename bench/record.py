"""The certificate's schema. No torch here: the leaderboard is built from certificates alone.

Every number is finite: NaN and infinity are refused on write and on read.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION = 1

Rate = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class VerdictName(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"


class Record(BaseModel):
    """Strict and closed: an unknown or missing field is an error, so is a number that is not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Ratio(Record):
    """A rate with its one-sided 95% Clopper-Pearson bounds; `observed` is absent for an empty sample."""

    successes: Count
    n: Count
    observed: Rate | None
    lower: Rate
    upper: Rate


class ClassRow(Record):
    """One class of one criterion. Rows inform; `fails` is set only after Holm correction."""

    label: str
    ratio: Ratio
    means: dict[str, float] = Field(default_factory=dict, description="e.g. probability, pixels, loss")
    fails: bool = False


class AttackRow(Record):
    """One attack of one criterion."""

    attack: str
    verdict: VerdictName
    reason: str
    ratio: Ratio
    outcomes: dict[str, Count] = Field(default_factory=dict, description="the six outcomes, counted")
    healthy: bool | None = Field(None, description="on the control, at the same budget; absent: not asked")
    means: dict[str, float] = Field(default_factory=dict, description="e.g. probability, pixels, passes")


class CriterionRecord(Record):
    """One of the eleven criteria: what was measured, what was allowed, what follows."""

    id: Annotated[int, Field(ge=0, le=10)]
    name: str
    verdict: VerdictName
    observed: Rate | None = Field(description="the rate that the verdict is about")
    bound: Rate | None = Field(description="its one-sided 95% bound on the side that decides a pass")
    threshold: Rate | None
    direction: Literal["at_least", "at_most"]
    n: Count
    reason: str = Field(description="one sentence: what was observed, what was allowed, what to do")
    per_class: tuple[ClassRow, ...] = ()
    per_attack: tuple[AttackRow, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict, description="further figures, logged for information")


class JudgeControl(Record):
    """One control of the measuring judge: images whose truth is known."""

    name: str
    required: bool
    n: Count
    rejected_working: Rate
    rejected_strict: Rate
    auroc: Rate | None
    holds: bool | None = Field(description="absent when the control is reported only")
    reason: str


class Sheet(Record):
    """A contact sheet: a PNG beside the certificate, one image a cell."""

    title: str
    file: str = Field(description="path relative to the certificate's folder")
    sha256: Sha256
    captions: tuple[str, ...] = Field((), description="one a cell, row by row")


class RoundRecord(Record):
    """One round of the defense."""

    index: Count
    attack: str | None = Field(description="the training attack; absent in the round that only saw real data")
    passes: Count = Field(description="its budget, in passes per image")
    attempted: Count
    outcomes: dict[str, Count]
    trained_as_fake: Count = Field(description="images that the round taught as fake")
    heldout: Count = Field(description="fooling images the harness made on the same network")
    validation_accuracy: Rate
    score: Rate | None = Field(description="the harmonic selection score")
    selected: bool
    per_class: tuple[ClassRow, ...] = Field((), description="the training attack's success, class-wise")
    sheet: Sheet | None = None


class FrontierRow(Record):
    """What the reference attack reaches with at most k lit pixels."""

    k: Count
    best_probability: Rate = Field(description="of a target, over all outputs, whatever the judge says")
    reached: Ratio = Field(description="targets reached with p")
    fooling: Ratio = Field(description="of them, what the judge rejects at its strict threshold")
    control: Ratio = Field(description="targets reached on the undefended control, at the same budget")
    carries: bool = Field(description="the control is reached often enough for a failure to be evidence")


class Frontier(Record):
    """How few lit pixels suffice on the final network, whatever the judge says."""

    attacks: tuple[str, ...] = Field(description="the attacks that minimised pixels on all their targets")
    per_class: dict[str, Count | None] = Field(description="fewest lit pixels with which anything reached p")
    rows: tuple[FrontierRow, ...]

    @property
    def fooled_from(self) -> int | None:
        return min((pixels for pixels in self.per_class.values() if pixels is not None), default=None)


class ProofRow(Record):
    """Upper bounds on any real class's probability over all images with at most k lit pixels."""

    k: Count
    interval: Rate = Field(description="by interval bounds")
    linear: Rate = Field(description="by linear bounds carried back to the pixels; never higher")


class Proof(Record):
    """What is proved of the final network, whatever an attack finds; outside the eleven criteria."""

    proved_to: Count | None = Field(description="no image with at most this many lit pixels reaches p")
    sparsest_real: Count = Field(description="fewest lit pixels of a real training image")
    rows: tuple[ProofRow, ...]
    reason: str = Field(description="one sentence: what is proved, or why nothing is")


class Cost(Record):
    """What the run cost."""

    seconds: Annotated[float, Field(ge=0)]
    forward_passes: Count
    backward_passes: Count


class BudgetRecord(Record):
    name: Literal["quick", "standard", "full"]
    images: Count = Field(description="per attack")
    passes: Count = Field(description="per image")
    restarts: Count
    rounds: Count


class ThreatRecord(Record):
    p: Rate
    k: Count
    pixels: Count = Field(description="pixels of one image")
    operating_point: tuple[Rate, ...] = Field(description="p in force for each real class of the final network")


class Environment(Record):
    """What made the record."""

    command: str
    seed: int
    device: str
    threads: Count
    revision: str = Field(description="git commit of the code, with '+changes' where the tree was dirty")
    packages: dict[str, str]
    made_at: str = Field(description="ISO 8601, UTC")


class Certificate(Record):
    """Everything a reader needs to believe, doubt or repeat a verdict."""

    schema_version: Literal[1] = SCHEMA_VERSION
    dataset: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    defense: str
    checkpoint: str | None = Field(None, description="file name of the weights certified without training")
    network: str
    training_attacks: tuple[str, ...]
    attacks: tuple[str, ...]
    scope: Literal["model", "process"]
    certified: bool = Field(description="all that the scope holds pass, at a budget that can certify")
    summary: str = Field(description="one sentence")
    threat: ThreatRecord
    budget: BudgetRecord
    environment: Environment
    criteria: tuple[CriterionRecord, ...] = Field(min_length=11, max_length=11)
    judge_controls: tuple[JudgeControl, ...]
    rounds: tuple[RoundRecord, ...]
    sheets: tuple[Sheet, ...]
    score: Rate | None = Field(description="harmonic selection score of the final network")
    fooled_from: int | None = Field(description="fewest lit pixels with which anything reached p")
    frontier: Frontier | None = None
    proof: Proof | None = None
    proved_to: Count | None = Field(None, description="no image with at most this many lit pixels reaches p")
    cost: Cost
    hashes: dict[str, Sha256] = Field(description="SHA-256 of every stored weight and image file of the run")


class CertificateError(Exception):
    """A certificate that can't be read: names the file, the field, what was found and what was expected."""


def read_certificate(path: Path) -> Certificate:
    """Read and validate one certificate.

    Raises:
        CertificateError: the file is missing, is no JSON, or does not match the schema.
    """
    try:
        return Certificate.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}; expected a certificate.json") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise CertificateError(
            f"{path}: {where}: {first['msg']}; got {str(first.get('input'))[:80]!r}. "
            "Make the certificate again with this version of Distal."
        ) from None
