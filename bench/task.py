"""What a defense gets and what it yields: the contract between defenses and the harness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from bench.materials.data import Split
from bench.types import Attack, Budget, ImageSpec, Judge, NetworkFactory, ThreatModel


@dataclass(frozen=True)
class Batch:
    """The images one round generated, all made against one network.

    Args:
        images: [N, C, H, W] in [0, 1].
        targets: [N] real classes.
        taught: [N] bool, the images the round trains on as fakes.
        attack: name of the training attack, one of the defense's `attacks`.
        budget: what the attack could spend on an image.
    """

    images: Tensor
    targets: Tensor
    taught: Tensor
    attack: str
    budget: Budget


@dataclass(frozen=True)
class Round:
    """One round: the network after it, and the images it trained on, if any.

    The images of a round were made against the network of the round before it.
    """

    index: int
    network: nn.Module
    batch: Batch | None = None


@dataclass(frozen=True)
class Task:
    """All that a defense may know: half A, the training judge, the threat model, its limits and its seed.

    Args:
        spec: the facts of an image.
        train: real training images of half A.
        validation: real validation images of half A.
        judge: the training judge, fitted on half A; the measuring judge is not handed to a defense.
        new_network: (outputs, seed) -> an untrained network of the chosen architecture, as the defense shapes it, on
            the device.
        threat: nominal p and k.
        images: images to make per round.
        budget: the most passes per image that training may spend; less than the suites measure with.
        max_rounds: rounds after which training stops whatever the attack still finds.
        seed: of this run; derive every generator from it.
        past: the rounds that a run which was stopped had finished; go on from the last.
    """

    spec: ImageSpec
    train: Split
    validation: Split
    judge: Judge
    new_network: Callable[[int, int], nn.Module]
    threat: ThreatModel
    images: int
    budget: Budget
    max_rounds: int
    seed: int
    past: tuple[Round, ...] = ()


class Recorder(Protocol):
    """Where a defense reports; it returns nothing, so that nothing it measures can steer training."""

    def generated(self, index: int, batch: Batch) -> None:
        """The images of round `index` exist, training on them begins."""

    def batch(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """One optimiser step: logits [N, K+F], labels [N], per-image loss [N]."""

    def epoch(self, network: nn.Module) -> None:
        """One pass over the training data is done."""


@dataclass(frozen=True)
class Defense:
    """A named way to train a network.

    Args:
        train: (task, recorder) -> rounds, the first of them without images.
        attacks: what training uses, by name; empty for a defense without a training history.
        shape: the architecture a user chose -> the one that this defense trains.
    """

    train: Callable[[Task, Recorder], Iterator[Round]]
    attacks: Mapping[str, Attack]
    shape: Callable[[NetworkFactory], NetworkFactory] = lambda factory: factory

    def __call__(self, task: Task, recorder: Recorder) -> Iterator[Round]:
        return self.train(task, recorder)


def defense(
    *, shape: Callable[[NetworkFactory], NetworkFactory] | None = None, **attacks: Attack
) -> Callable[[Callable[[Task, Recorder], Iterator[Round]]], Defense]:
    """Make a generator function a defense.

    Args:
        shape: what it makes of the architecture a user chose; nothing, if None.
        attacks: those it trains with, by name.
    """

    def wrap(train: Callable[[Task, Recorder], Iterator[Round]]) -> Defense:
        return Defense(train, attacks, shape) if shape else Defense(train, attacks)

    return wrap
