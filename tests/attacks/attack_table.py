"""The attacks under test, as data, and the classifiers they are tried on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.differential_evolution import differential_evolution
from attacks.l1_sparse import l1_sparse
from attacks.masked import masked
from attacks.onward import onward
from bench.meter import Meter
from bench.types import Attack, Budget, ImageSpec, ThreatModel
from bench.verify import logits_of, reached

UNREACHABLE = 1.1  # a probability no image has


@dataclass(frozen=True)
class Entry:
    """An attack and what its docstring promises on a linear classifier.

    Args:
        factor: it succeeds with this many times the fewest pixels that can.
        passes: with this budget.
        most_pixels: on images of at most so many pixels.
    """

    attack: Attack
    factor: float
    passes: int
    most_pixels: float = math.inf

    @property
    def name(self) -> str:
        return self.attack.__name__


TABLE = (
    Entry(l1_sparse, factor=1.1, passes=1000),
    Entry(masked, factor=1.5, passes=4000),
    Entry(onward, factor=1.2, passes=4000),
    Entry(differential_evolution, factor=1.75, passes=4000),
)


class Linear(nn.Module):
    """Logits = weights @ pixels."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weights.T


class Recorder:
    """A classifier that keeps every batch it was shown."""

    def __init__(self, network: nn.Module, spec: ImageSpec, allowance: int | None = None):
        self.meter = Meter(network, spec, allowance)
        self.spec, self.device, self.fake_classes = spec, self.meter.device, self.meter.fake_classes
        self.batches: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(images.detach().clone())
        return self.meter(images)


def spec_of(shape: tuple[int, int, int], classes: int, levels: int = 16) -> ImageSpec:
    return ImageSpec(shape, levels, tuple(str(c) for c in range(classes)))


def random_linear(shape: tuple[int, int, int], classes: int, fake: int = 0, seed: int = 0) -> Linear:
    weights = torch.randn(classes + fake, math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return Linear(weights)


def solvable(shape: tuple[int, int, int], classes: int, fake: int, optimum: int, seed: int, p: float = 0.9) -> Linear:
    """A linear classifier whose sparsest fooling images have exactly `optimum` lit pixels, for every class.

    Each pixel has weight for one real class alone; lighting another class's pixel raises a rival, or lowers one
    of several, which is worth no more than the last of the target's own and tempts a greedy search. So the target's
    own pixels decide, taken at 1 from the steepest down; the weights are scaled so that p lies about halfway between
    what the first `optimum` of them reach and what one fewer do; just halfway is a grid value, and whether it reaches
    p would be a matter of how a processor rounds.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, pixels = shape[0], shape[1] * shape[2]
    values = torch.randn(channels, pixels, generator=generator)
    owner = (torch.arange(pixels) % classes)[torch.randperm(pixels, generator=generator)]
    needed = math.log(p / (1 - p)) + math.log(classes + fake - 1)
    weights = torch.zeros(classes + fake, channels, pixels)
    for target in range(classes):
        own = values * (owner == target)
        gains = own.clamp(min=0).sum(dim=0).sort(descending=True).values
        weights[target] = own * needed / (gains[:optimum].sum() - 0.53 * gains[optimum - 1])
    return Linear(weights.flatten(1))


def attacked(
    attack: Attack,
    classifier,
    targets: Tensor,
    *,
    k: int,
    passes: int,
    p: float | tuple[float, ...] = 0.9,
    seed: int = 0,
    **options: Tensor,
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return attack(classifier, targets, threat=ThreatModel(p, k), budget=Budget(passes), generator=generator, **options)


def successes(network: nn.Module, images: Tensor, targets: Tensor, *, k: int, p: float = 0.9) -> Tensor:
    """As the harness judges it -> [N] bool."""
    return reached(logits_of(network, images), images, targets, ThreatModel(p, k))
