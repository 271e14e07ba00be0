"""The fewest lit pixels that one attack finds for every target, with a budget."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.prune import prune
from bench.meter import Meter
from bench.seeds import generator
from bench.types import Attack, Budget, Classifier, ImageSpec, ThreatModel, lit_pixels
from bench.verify import logits_of, reached

ROUNDS = 4  # how often an attack that stops at k is asked, each time for fewer pixels than it has found
THINNING = 0.2  # the share of a round's passes that is kept for pruning
PRUNING = 400  # passes an image, beyond the budget, that other libraries' results are pruned with


@dataclass(frozen=True)
class Found:
    """What one attack found.

    Args:
        pixels: [N] lit pixels of each confident image, rounded; None where there is none.
        passes: image passes, as counted from outside.
        seconds: of the attack and its pruning.
    """

    pixels: tuple[int | None, ...]
    passes: int
    seconds: float


def to_the_end(
    attack: Attack, network: nn.Module, spec: ImageSpec, targets: Tensor, *, p: float, passes: int, seed: int
) -> Found:
    """An attack that minimises pixels, asked for none: it goes on to the end of its budget."""
    meter = Meter(network, spec, allowance=passes * len(targets))
    began = time.perf_counter()
    images = attack(meter, targets, threat=ThreatModel(p, 0), budget=Budget(passes), generator=generator(seed))
    return Found(counted(network, spec, images, targets, p), meter.passes, time.perf_counter() - began)


def ever_fewer(
    attack: Attack, network: nn.Module, spec: ImageSpec, targets: Tensor, *, p: float, k: int, passes: int, seed: int
) -> Found:
    """An attack that stops at k pixels, asked again and again for fewer than it has.

    The first round asks for k pixels, every later one, of each target, for one fewer than its sparsest image so
    far. Rounds share the passes evenly; what a round yields is pruned with the last part of its own.
    """
    meter = Meter(network, spec, allowance=passes * len(targets))
    share = passes // ROUNDS
    thinning = int(THINNING * share)
    fewest = torch.full((len(targets),), spec.pixels + 1)
    began = time.perf_counter()
    for turn in range(ROUNDS):
        asked = (fewest - 1).clamp(max=k)
        for most in asked.unique().tolist():
            if most == 0:  # pruning has tried the blank image already
                continue
            rows = (asked == most).nonzero().squeeze(1)
            threat, budget = ThreatModel(p, most), Budget(share - thinning)
            images = attack(meter, targets[rows], threat=threat, budget=budget, generator=generator(seed, turn, most))
            images = prune(meter, images.detach(), targets[rows], ThreatModel(p, 0), thinning)
            made = counted(network, spec, images, targets[rows], p)
            fewest[rows] = torch.minimum(fewest[rows], as_tensor(made, spec))
    seconds = time.perf_counter() - began
    pixels = tuple(n if n <= spec.pixels else None for n in fewest.tolist())
    return Found(pixels, meter.passes, seconds)


def as_given(
    attack: Attack, network: nn.Module, spec: ImageSpec, targets: Tensor, *, p: float, passes: int, seed: int
) -> tuple[Found, Found]:
    """Another library's attack: its result as it is, and pruned; its passes are counted and not cut off."""
    meter, pruner = Meter(network, spec), Meter(network, spec, allowance=PRUNING * len(targets))
    began = time.perf_counter()
    images = attack(meter, targets, threat=ThreatModel(p, 0), budget=Budget(passes), generator=generator(seed))
    raw = Found(counted(network, spec, images, targets, p), meter.passes, time.perf_counter() - began)
    return raw, pruned(pruner, network, images, targets, p)


def pruned(pruner: Classifier, network: nn.Module, images: Tensor, targets: Tensor, p: float) -> Found:
    """Images thinned with `PRUNING` passes each; the count never grows."""
    began = time.perf_counter()
    thin = prune(pruner, images.detach(), targets, ThreatModel(p, 0), PRUNING)
    pixels = counted(network, pruner.spec, thin, targets, p)
    return Found(pixels, pruner.passes, time.perf_counter() - began)


def counted(network: nn.Module, spec: ImageSpec, images: Tensor, targets: Tensor, p: float) -> tuple[int | None, ...]:
    """Lit pixels of each image [N, C, H, W] that is confident once rounded, else None.

    Raises:
        ValueError: images of the wrong shape.
    """
    if images.shape != (len(targets), *spec.shape):
        raise ValueError(f"images {tuple(images.shape)}; expected {(len(targets), *spec.shape)}")
    images = spec.round(images.detach().cpu())
    confident = reached(logits_of(network, images), images, targets, ThreatModel(p, spec.pixels))
    return tuple(n if sure else None for n, sure in zip(lit_pixels(images).tolist(), confident.tolist(), strict=True))


def as_tensor(pixels: tuple[int | None, ...], spec: ImageSpec) -> Tensor:
    """Pixel counts [N]; what has none has one more than there are."""
    return torch.tensor([spec.pixels + 1 if n is None else n for n in pixels])
