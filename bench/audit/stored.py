"""Stored pieces of a stranger's run: weights and images, read without believing them, images scored again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from bench.audit.difference import TOLERANCE, Difference, RefusedError
from bench.errors import BadInputError, NonFiniteError
from bench.materials.weights import load_weights
from bench.record import Count, Record
from bench.store import Store, StoreError
from bench.types import ImageSpec, Judge, Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified, verify

SCORED = {"probability": torch.float32, "pixels": torch.int64, "score": torch.float64, "outcome": torch.int64}
FIELDS = {"images": torch.float32, "targets": torch.int64, **SCORED}
GENERATED = {"which": torch.int64, "counts": torch.int64}
CONFIDENT = (Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION, Outcome.DENSE)
SPARSE = (Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION, Outcome.UNCONFIDENT)


class RoundFacts(Record):
    """`round.json` of a run."""

    outputs: Annotated[int, Field(ge=1, le=100_000)]
    attack: str | None
    passes: Count
    restarts: Annotated[int, Field(ge=1)]
    cost: tuple[Count, Count]


class HandedIn(Store):
    """A run's folder as it came: nothing in it is trusted, whatever can't be read is refused by name.

    Args:
        folder: the copy.
        spec: the facts of its images.
    """

    def __init__(self, folder, spec: ImageSpec):
        super().__init__(folder)
        self.spec = spec

    def load_json(self, name: str) -> Any:
        try:
            return super().load_json(name)
        except RecursionError:
            raise RefusedError(name.removeprefix("said/"), "JSON", "JSON that is nested too deeply") from None
        except StoreError as error:
            reason = str(error).replace(f"{self.folder}/", "").partition("; delete it")[0]
            raise RefusedError(name.removeprefix("said/"), "a file of the run", reason) from None

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        if not self.has(name):
            raise RefusedError(name, "a file of the run", "no such file")
        try:
            tensors = super().load_tensors(name)
        except NonFiniteError:
            raise RefusedError(name, "finite numbers", "NaN or infinity") from None
        except Exception as error:  # damaged files fail in any of the library's ways
            raise RefusedError(name, "a safetensors file", type(error).__name__) from None
        if name.startswith("generated/"):
            self._check_images(name, tensors, FIELDS | GENERATED)
        elif name.endswith("/train.safetensors"):
            self._check_images(name, tensors, FIELDS | {"taught": torch.bool})
        elif name.endswith("/heldout.safetensors"):
            self._check_images(name, tensors, FIELDS)
        return tensors

    def load_network(self, name: str, network: nn.Module) -> nn.Module:
        """Put stored weights into a network of the architecture they should fit."""
        self.load_tensors(name)
        try:
            load_weights(self.path(name), network)
        except BadInputError as error:
            reason = str(error).replace(f"{self.folder}/", "").partition(": name its network")[0]
            raise RefusedError(name, "weights of the run's network", reason) from None
        return network.eval()

    def round_facts(self, name: str) -> RoundFacts:
        """What a round says of itself."""
        try:
            return RoundFacts.model_validate(self.load_json(name))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise RefusedError(f"{name}: {where}", str(first.get("input"))[:80], first["msg"]) from None

    def _check_images(self, name: str, tensors: dict[str, Tensor], fields: dict[str, torch.dtype]) -> None:
        if tensors.keys() != fields.keys():
            raise RefusedError(name, ", ".join(sorted(tensors))[:200], f"{', '.join(sorted(fields))} expected")
        n = len(tensors["targets"]) if tensors["targets"].ndim else 0
        for field, dtype in fields.items():
            shape = {"images": (n, *self.spec.shape), "counts": (3,)}.get(field, (n,))
            is_ = tensors[field]
            if is_.dtype != dtype or tuple(is_.shape) != shape:
                said = f"{is_.dtype} of the shape {tuple(is_.shape)}"
                raise RefusedError(f"{name}: {field}", said, f"{dtype} of the shape {shape} expected")
        for field, most in (("targets", self.spec.real_classes), ("outcome", len(OUTCOMES)), ("counts", None)):
            values = tensors.get(field)
            if values is not None and ((values < 0).any() or (most is not None and (values >= most).any())):
                raise RefusedError(f"{name}: {field}", values.tolist()[:10], "a value out of range")


def scored_again(
    name: str, stored: Verified, network: nn.Module, spec: ImageSpec, threat: ThreatModel, judge: Judge
) -> Iterator[Difference | int]:
    """Score stored images as the harness does, and compare every field.

    Probabilities and scores may differ by `TOLERANCE`. So may what is asked of them: an outcome that a
    probability or a score within `TOLERANCE` of its threshold leaves open is taken as it is stored, unless the image
    fools here: what is so near to that is no ground for a pass.

    Args:
        name: of the file, for the messages.
        network: the one that they were made against.

    Yields:
        Differences, at most one a field, then how many outcomes were taken as stored.

    Raises:
        RefusedError: figures that are not finite.
    """
    try:
        found = verify(network, spec, stored.images, stored.targets, threat, judge)
    except NonFiniteError as error:
        raise RefusedError(name, "finite figures", error) from None
    slack = TOLERANCE * found.score.abs().clamp_min(1)
    differs = {
        "images": (stored.images != found.images).flatten(1).any(dim=1),
        "probability": (stored.probability - found.probability).abs() > TOLERANCE,
        "pixels": stored.pixels != found.pixels,
        "score": (stored.score - found.score).abs() > slack,
        "outcome": ~_open(stored, found, threat, judge, slack),
    }
    for field, where in differs.items():
        if where.any():
            first = int(where.nonzero()[0])
            more = f" ({int(where.sum())} of {len(where)} differ)"
            said, is_ = _value(field, stored, first), _value(field, found, first)
            yield Difference(f"{name}: {field}[{first}]", said, is_ + more)
    yield int(((stored.outcome != found.outcome) & ~differs["outcome"]).sum())


def _open(stored: Verified, found: Verified, threat: ThreatModel, judge: Judge, slack: Tensor) -> Tensor:
    """Which stored outcomes are what was found, or a side of a threshold that is too near to tell -> [N] bool.

    Never the side that hides an image which fools here.
    """

    def fits(says: Tensor, value: Tensor, threshold: Tensor | float, near: Tensor | float, over: Tensor) -> Tensor:
        return (says == over) | ((value - threshold).abs() <= near)

    p = threat.p_of(found.targets)
    confident, sparse = stored.is_(*CONFIDENT), stored.is_(*SPARSE)
    fooling, rejected = stored.is_(Outcome.FOOLING), stored.is_(Outcome.FOOLING, Outcome.BORDERLINE)
    holds = fits(confident, found.probability, p, TOLERANCE, found.probability >= p)
    holds &= sparse == (found.pixels <= threat.k)
    judged = fits(rejected, found.score, judge.working, slack, found.score > judge.working)
    judged &= fits(fooling, found.score, judge.strict, slack, found.score > judge.strict)
    hides = found.is_(Outcome.FOOLING) & ~fooling
    return holds & (judged | ~(confident & sparse)) & ~hides


def _value(field: str, images: Verified, index: int) -> str:
    if field == "images":
        return f"an image of the sum {images.images[index].sum().item():.6g}"
    value = getattr(images, field)[index].item()
    return str(OUTCOMES[value]) if field == "outcome" else f"{value:.6g}"
