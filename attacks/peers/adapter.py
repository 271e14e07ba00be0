"""Another library's attack as one of ours: class by class, within its passes, its randomness from our generator."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from attacks.peers.asked import Asked
from attacks.peers.reduction import OutOfPassesError, TwoLogits
from attacks.prune import Sparsest
from bench.errors import NonFiniteError
from bench.meter import BudgetExceededError
from bench.types import Budget, Classifier, ThreatModel
from bench.verify import reached

ALMOST = 0.98  # of half a step of the value grid, which rounds to 0


class Library(Protocol):
    """How one library's attacks are found, built and run.

    Args:
        package: what is imported, and whose warnings are its own business.
        alone: attacks that take their images one after the other, and so get them one by one with a budget each.
        lifted: attacks that stand still on a dark pixel, since they move in tanh space, whose slope is 0 there, or
            by a share of the image's own norm; they get images just off it, still dark on the value grid.
    """

    package: str
    alone: frozenset[str]
    lifted: frozenset[str]

    def classes(self) -> dict[str, type]:
        """Its attacks, by name."""

    def accepted(self, made: type) -> set[str]:
        """The arguments that one of them takes."""

    def build(self, asked: Asked, made: type, network: TwoLogits, passes: int, seed: int) -> Any:
        """The attack itself.

        Args:
            passes: what an image may cost, for the argument that says so if it was not given.
            seed: for attacks that seed themselves.
        """

    def run(self, asked: Asked, attack: Any, network: TwoLogits, images: Tensor) -> Tensor:
        """Attack: images [n, C, H, W] of class 1 that are to be of class 0 -> what came of them, the same shape."""


@dataclass(frozen=True)
class Peer:
    """An attack of another library; an `Attack` like any other.

    One call of the library attacks images of one class, or one image; see `attacks.peers` for what comes back.
    """

    library: Library
    asked: Asked
    made: type

    def __call__(
        self,
        classifier: Classifier,
        targets: Tensor,
        *,
        threat: ThreatModel,
        budget: Budget,
        generator: torch.Generator,
        start: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        targets = targets.to(classifier.device)
        images = torch.zeros(len(targets), *classifier.spec.shape, device=classifier.device)
        clean = images.clone() if start is None else start.to(images).clamp(0, 1)
        if self.made.__name__ in self.library.lifted:
            clean = clean.clamp(min=ALMOST / (2 * classifier.spec.levels))
        free = torch.ones(1, 1, 1, 1) if mask is None else mask
        free = free.to(images)
        single = len(free) > 1 or self.made.__name__ in self.library.alone
        for rows in groups(targets, single):
            one = free[rows] if len(free) > 1 else free
            seen = Sparsest(classifier, targets[rows], threat)
            network = TwoLogits(classifier, seen, one, max(0, budget.passes - 1) * len(rows))
            seed = int(torch.randint(2**31, (), generator=generator))
            result = self.attacked(network, clean[rows] * one, budget.passes - 1, seed)
            images[rows] = seen.images if result is None else finished(network, result)
        return images

    def attacked(self, network: TwoLogits, clean: Tensor, passes: int, seed: int) -> Tensor | None:
        """The library's result, [n, C, H, W]; None where it ran out of passes."""
        with seeded(seed, clean.device), quiet(self.library.package):
            try:
                attack = self.library.build(self.asked, self.made, network, passes, seed)
                return self.library.run(self.asked, attack, network, clean)
            except OutOfPassesError:
                return None
            except (BudgetExceededError, NonFiniteError):
                raise
            except Exception as error:
                refusal = f"it does not run on these images: {words(error)}; expected an attack that does"
                raise self.asked.refuse(refusal) from error


def groups(targets: Tensor, single: bool) -> Iterator[Tensor]:
    """The rows that go into one call: those of one class, or one of them -> [n] each."""
    for target in targets.unique():
        rows = (targets == target).nonzero().squeeze(1)
        yield from rows.split(1) if single else [rows]


def finished(network: TwoLogits, result: Tensor) -> Tensor:
    """What the library returned, rounded, where it is confident and sparse, else the best it looked at.

    Costs the pass an image that was kept for it.
    """
    seen = network.seen
    with torch.no_grad():
        images = network.on_grid(result)
        logits = network.classifier(images)
    seen.record(torch.arange(len(images), device=images.device), images, logits)
    good = reached(logits, images, seen.targets, seen.threat)
    return torch.where(good.view(-1, 1, 1, 1), images, seen.images)


def words(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__} {error}".strip()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global random states of torch, NumPy and Python, set by `seed` and put back at the end."""
    numpys, pythons = np.random.get_state(), random.getstate()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)


@contextmanager
def quiet(package: str) -> Iterator[None]:
    """No warnings from the code of `package`, nor of EagerPy, Foolbox's tensors; others stay what they are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=rf"({package}|eagerpy)(\.|$)")
        yield
