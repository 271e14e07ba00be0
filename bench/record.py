"""The certificate's schema. No torch here: the leaderboard is built from certificates alone.

Every number is finite: NaN and infinity are refused on write and on read.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from bench.consistency import contradictions

SCHEMA_VERSION = 1
RULES = 4  # what the criteria count; raised when they count more, so that an earlier pass is told from one of today
CONTRADICTION = "contradiction"

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

    @model_validator(mode="after")
    def _is_its_share(self) -> Self:
        share = self.successes / self.n if 0 < self.n >= self.successes else None
        if share != self.observed or self.successes > self.n:
            text = f"observed: {self.observed} of successes and n that make {share}"
            raise PydanticCustomError(CONTRADICTION, "{text}", {"text": text})
        return self


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
    attack: str | None = Field(None, description="which attack made the images")


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


class EvolutionStep(Record):
    """What the reference attack draws on one round's network; every step has the same targets and the same seed."""

    index: Count = Field(description="the round whose network it is")
    sheet: Sheet = Field(description="one cell is one target in every step")
    outcomes: dict[str, Count]


class TransferRow(Record):
    """One round's fooling images, made on the network of the round before, on every round's network."""

    index: Count = Field(description="of the round whose images they are")
    n: Count = Field(description="fooling images: those taught as fakes and those held out, pooled")
    taught: Count = Field(description="of them taught as fakes")
    detected: tuple[Count, ...] = Field(description="by each network, in the order of `networks`")
    fake_probability: tuple[Rate, ...] = Field(description="mean, on each network")


class PastAttackRow(Record):
    """One attack that training did not use: what it made on past networks, on the final network."""

    attack: str
    n: tuple[Count, ...] = Field(description="fooling images made on each network, in the order of `past`")
    detected: tuple[Count, ...] = Field(description="of them, by the final network")
    total: Ratio


class TransferMatrix(Record):
    """Images of each round on the network of each round."""

    networks: tuple[Count, ...] = Field(description="rounds, in order")
    rows: tuple[TransferRow, ...] = Field(description="every round that has fooling images")
    past: tuple[Count, ...] = Field((), description="rounds before the selected one")
    attacks: tuple[PastAttackRow, ...] = ()


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


class PerturbedRow(Record):
    """Real test images of one class, each with a fooling image of another class added at one strength."""

    strength: Rate = Field(description="a in clip(real + a * fooling, 0, 1)")
    series: Literal["control", "final"] = Field(description="the network that the added images were made on")
    turned: Ratio = Field(description="given the added image's class with the nominal p, by this model")
    kept: Ratio = Field(description="still given their own class, by this model")
    control: Ratio = Field(description="turned, on the undefended control")
    control_kept: Ratio = Field(description="kept, on the undefended control")


class Perturbed(Record):
    """What becomes of real test images that fooling images are added to; outside the eleven criteria."""

    attack: str = Field(description="whose images of the undefended control are added in the series `control`")
    rows: tuple[PerturbedRow, ...]
    reason: str = Field(description="in words: what was measured, or why nothing was")


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


class Share(Record):
    """A rate with its two-sided 95% Clopper-Pearson interval; `observed` is absent for an empty sample."""

    successes: Count
    n: Count
    observed: Rate | None
    lower: Rate
    upper: Rate


class HumanFigures(Record):
    """What one person, or the majority of several, made of images without knowing which are real."""

    images: Count = Field(description="images that count: each once, however many people marked it")
    agreement_working: Share = Field(description="people's 'could be real' equals the judge's not rejecting")
    agreement_strict: Share = Field(description="the same at the judge's strict threshold, which decides outcomes")
    auroc: Rate | None = Field(description="of the judge's score against the marks; absent: all marks are the same")
    missed: Share = Field(description="of generated images that people call not real: let pass by the judge at strict")
    overruled: Share = Field(description="of generated images that the judge rejects at strict: taken for real")
    false_alarms: Share = Field(description="real images that people call not real")
    control_taken: Share = Field(description="images that fool the undefended control, taken for real")
    final_taken: Share = Field(description="images confident and sparse on the final network, taken for real")
    named: Share = Field(description="real images whose class people named rightly")


class HumanRater(Record):
    """One person's marks, in figures."""

    name: Annotated[str, Field(max_length=80)] = Field(description="as given; may be empty")
    file: Sha256 = Field(description="SHA-256 of the exported marks")
    seconds: Annotated[float, Field(ge=0)] = Field(description="median a mark")
    figures: HumanFigures


class HumanRecord(Record):
    """What people say of the images; outside the eleven criteria, and no part of the certificate's identity."""

    certificate: Sha256 = Field(description="the certificate that was inspected, without this record")
    page: Sha256 = Field(description="the inspection page and its key")
    images: Count = Field(description="on the page")
    real: Count = Field(description="of them real")
    marks: Count = Field(description="of all people")
    ties: Count = Field(description="images without a majority, left out of `pooled`")
    pooled: HumanFigures = Field(description="by the majority mark of each image")
    raters: Annotated[tuple[HumanRater, ...], Field(min_length=1)]
    kappa: Annotated[float, Field(ge=-1, le=1)] | None = Field(description="Cohen's, mean over pairs of people")


class Named:
    """What a certificate and its summary say by their `defense`, `checkpoint` and `rules`."""

    @property
    def subject(self) -> str:
        """What is certified: the weights' file name, or the defense that trained them."""
        return self.defense if self.checkpoint is None else self.checkpoint

    @property
    def earlier(self) -> bool:
        """Whether criteria count more by today's rules than by its own."""
        return self.rules < RULES


class Certificate(Record, Named):
    """Everything a reader needs to believe, doubt or repeat a verdict."""

    schema_version: Literal[1] = SCHEMA_VERSION
    rules: Annotated[int, Field(ge=0, le=RULES)] = Field(
        0, description="by which its criteria count; 0: before rules had a number"
    )
    dataset: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    defense: str | None = Field(
        description="what trained it; beside a checkpoint null, or, in earlier certificates, a name that says nothing"
    )
    checkpoint: str | None = Field(
        None, description="weights certified without training: their file, or RUN/rounds/NNN/file"
    )
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
    evolution: tuple[EvolutionStep, ...] = Field((), description="some rounds in order, the selected one among them")
    transfer: TransferMatrix | None = Field(None, description="absent without two rounds")
    sheets: tuple[Sheet, ...]
    score: Rate | None = Field(description="harmonic selection score of the final network")
    fooled_from: int | None = Field(description="fewest lit pixels with which anything reached p")
    frontier: Frontier | None = None
    proof: Proof | None = None
    proved_to: Count | None = Field(None, description="no image with at most this many lit pixels reaches p")
    perturbed: Perturbed | None = None
    human: HumanRecord | None = Field(None, description="what people say of the images")
    cost: Cost
    hashes: dict[str, Sha256] = Field(description="SHA-256 of every stored weight and image file of the run")

    @property
    def answer(self) -> str:
        """Whether it is certified, in words."""
        if not self.certified:
            return "not certified"
        return "certified by earlier rules" if self.earlier else "certified"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for text in contradictions(self):
            raise PydanticCustomError(CONTRADICTION, "{text}", {"text": text})
        return self


class CertificateError(Exception):
    """A certificate that can't be read: names the file, the field, what was found and what was expected."""


class ContradictionError(CertificateError):
    """A certificate that can be read, but says things that can't be true together."""


class InspectionError(CertificateError):
    """An inspection that can't be made or merged: names the file, what was found, what was expected, what to do."""


def read_certificate(path: Path) -> Certificate:
    """Read and validate one certificate.

    Raises:
        CertificateError: the file is missing, is no JSON, or does not match the schema.
        ContradictionError: it says things that can't be true together.
    """
    try:
        return Certificate.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}; expected a certificate.json") from None
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == CONTRADICTION:
            raise ContradictionError(f"{path}: {first['msg']}") from None
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise CertificateError(
            f"{path}: {where}: {first['msg']}; got {str(first.get('input'))[:80]!r}. "
            "Make the certificate again with this version of Distal."
        ) from None
