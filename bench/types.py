"""The words every room shares: image facts, threat model, budget, outcomes, the contracts of extensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSpec:
    """What an image of a data set is.

    Args:
        shape: (channels, height, width).
        levels: the value grid is {0, 1/levels, ..., 1}: 255 for MNIST, 16 for digits.
        class_names: the K real classes, in label order.
    """

    shape: tuple[int, int, int]
    levels: int
    class_names: tuple[str, ...]

    @property
    def real_classes(self) -> int:
        return len(self.class_names)

    @property
    def pixels(self) -> int:
        """Pixels of one image; a pixel counts once over its channels."""
        return self.shape[1] * self.shape[2]

    def round(self, images: Tensor) -> Tensor:
        """Clip to [0, 1] and round to the value grid, in float32."""
        return images.float().clamp(0, 1).mul_(self.levels).round_().div_(self.levels)


def lit_pixels(images: Tensor) -> Tensor:
    """Non-zero pixels of each image [N, C, H, W] -> [N] int64; a pixel counts once over its channels."""
    return (images != 0).any(dim=1).flatten(1).sum(dim=1)


@dataclass(frozen=True)
class ThreatModel:
    """When an image counts as confident and as sparse.

    Args:
        p: least softmax probability of the target, over all outputs; one number, or one per real class
            (the operating point, where it is lower than the nominal p).
        k: most non-zero pixels.
    """

    p: float | tuple[float, ...]
    k: int

    def p_of(self, targets: Tensor) -> Tensor:
        """The probability each target [N] has to reach -> [N] float32, on the targets' device."""
        if isinstance(self.p, tuple):
            return torch.tensor(self.p, dtype=torch.float32, device=targets.device)[targets]
        return torch.full(targets.shape, self.p, dtype=torch.float32, device=targets.device)


@dataclass(frozen=True)
class Budget:
    """What an attack may spend on one image.

    Args:
        passes: forward passes plus backward passes, per image, over all restarts.
        restarts: how often the harness may start an attack on a target that is still standing. The harness
            hands an attack its share, `Budget(passes // restarts, 1)`, so that it can judge in between; what
            early stops save may buy further starts (`bench.harness.generate`).
    """

    passes: int
    restarts: int = 1

    def share(self) -> Budget:
        return Budget(self.passes // self.restarts, 1)


class Outcome(StrEnum):
    """What became of one generated image; every image has exactly one."""

    FOOLING = "fooling"  # confident, sparse, rejected by the measuring judge at its strict threshold
    BORDERLINE = "borderline"  # confident, sparse, rejected at the working threshold only
    IN_DISTRIBUTION = "in_distribution"  # confident, sparse, taken for real data
    DENSE = "dense"  # confident only
    UNCONFIDENT = "unconfident"  # sparse only
    NEITHER = "neither"


class Classifier(Protocol):
    """What an attack sees of a network: its logits and the facts of its images."""

    spec: ImageSpec
    fake_classes: int
    device: torch.device

    def __call__(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] -> logits [N, K + F]."""


class Judge(Protocol):
    """Tells images that could be real data from images that could not; never sees the network under test."""

    working: float
    strict: float

    def score(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] -> [N] float64, higher is further from real data.

        An image is rejected at a threshold when its score is greater than it.
        """


class Attack(Protocol):
    """One attack: one function in one file, its paper cited.

    Returns [N, C, H, W] images in [0, 1]; the harness, never the attack, decides which succeeded.
    """

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
    ) -> Tensor: ...


NetworkFactory = Callable[[ImageSpec, int], torch.nn.Module]
"""(image facts, number of outputs) -> an untrained network."""
