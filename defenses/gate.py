"""Gates that shut on every image with at most k lit pixels, provably: that of `sparse_gate`, and `fakeclass`'s count.

The first counts lit pixels, and looks at what they draw; the other only counts. The count alone is the best a proof
over S_k can ask for: a real image with at most k lit pixels lies in S_k itself and can't be told from it, any other has
more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bench.harness.registry import NETWORKS
from bench.materials.gate import Behind
from bench.materials.split import Split
from bench.materials.training import Replay, default_shift, shifted
from bench.proof.bounds import upper_logit
from bench.types import ImageSpec, NetworkFactory, lit_pixels

OPEN, SHUT = 6.0, -4.0  # the gate's logit at most, and at most on S_k
STEEP = 10.0  # logits a missing pixel costs
COUNT_OPEN, COUNT_STEEP = 12.0, 20.0  # the same of `count_gate`, so open that a network may have another gate besides
SATURATION = 32  # brightness at which a pixel counts whole: 1 / this, or one level where levels are coarser
HIDDEN = 64
GIVEN_UP = 0.02  # of real images, at most, for a gate that shuts on all that is sparse
STEPS, BATCH, LEARNING_RATE = 1500, 128, 1e-3
REAL_WEIGHT = 10.0  # of a real image shut out, beside an odd one let in


def gate_network(spec: ImageSpec) -> nn.Sequential:
    """An untrained gate: images [N, C, H, W] in [0, 1] -> logits [N, 1], at most OPEN.

    The first layers say how dark each pixel is, from 1 to 0, and stay as they are; then one unit counts lit pixels
    and HIDDEN others look for what is odd. The answer is OPEN less STEEP times the pixels missing, less the oddness:
    no weight of the oddness can open what the count shuts.
    """
    channels, pixels = spec.shape[0], spec.pixels
    dark = _dark(spec, torch.eye(channels))
    look, gather, answer = nn.Linear(channels * pixels, 1 + HIDDEN), nn.Linear(1 + HIDDEN, 2), nn.Linear(2, 1)
    with torch.no_grad():
        look.weight[0] = 1 / channels
        look.bias[0] = -pixels
        answer.weight.copy_(torch.tensor([[-STEEP, -1.0]]))
        answer.bias.fill_(OPEN)
    network = nn.Sequential(dark, nn.ReLU(), nn.Flatten(), look, nn.ReLU(), gather, nn.ReLU(), answer)
    _apart(gather)
    return network.requires_grad_(False)


def count_gate(spec: ImageSpec) -> nn.Sequential:
    """A gate that counts and nothing else, not trained: images [N, C, H, W] in [0, 1] -> logits [N, 1].

    COUNT_OPEN on everything until `close_count`; from then on COUNT_STEEP less for each lit pixel that is missing of as
    many as `fit_count` has it ask for. A pixel is as dark as all its channels together leave it, where the maximum is
    no layer that a proof can read: it counts 1 at most, so S_k gains nothing, and no less than its brightest channel
    alone would have it count. It sums rows first, because float32's error, as it is proved, grows with every term.
    """
    _, height, width = spec.shape
    row, look, answer = nn.Conv2d(1, 1, (1, width), bias=False), nn.Linear(height, 1), nn.Linear(1, 1)
    for weight, value in (
        (row.weight, 1.0),
        (look.weight, 1.0),
        (look.bias, -spec.pixels),
        (answer.weight, 0.0),
        (answer.bias, COUNT_OPEN),
    ):
        nn.init.constant_(weight, value)
    dark = _dark(spec, torch.ones(1, spec.shape[0]))
    return nn.Sequential(dark, nn.ReLU(), row, nn.Flatten(), look, nn.ReLU(), answer).requires_grad_(False)


def fit_count(gate: nn.Sequential, real: Tensor, sparse: int) -> None:
    """Have a `count_gate` ask for more lit pixels than `most_to_prove`, given real images [N, C, H, W] and k."""
    gate[-3].bias.fill_(most_to_prove(real, sparse) + 1 - real[0, 0].numel())


def close_count(gate: nn.Sequential) -> None:
    """From now on a `count_gate` shuts on what has too few lit pixels."""
    gate[-1].weight.fill_(-COUNT_STEEP)


def _dark(spec: ImageSpec, mix: Tensor) -> nn.Conv2d:
    """How dark each pixel is, 1 at 0 and falling below 0 where the mix [out, C] of its channels is bright.

    Dark, not lit: where a pixel is unlit, a clip would have no slope for an attack to follow.
    """
    dark = nn.Conv2d(mix.shape[1], mix.shape[0], 1)
    with torch.no_grad():
        dark.weight.copy_(-min(SATURATION, spec.levels) * mix[:, :, None, None])
        dark.bias.fill_(1)
    return dark


def behind(gate: Callable[[ImageSpec], nn.Module]) -> Callable[[NetworkFactory], NetworkFactory]:
    """A shape: an architecture behind a new gate; the last of its outputs is the gate's fake class."""
    return partial(Behind, gate=gate)


gated = behind(gate_network)
counted = behind(count_gate)


def gated_network(name: str) -> NetworkFactory:
    """`--network gated:NAME`, for the weights of a gated network.

    Raises:
        BadInputError: no network has that name.
    """
    return gated(NETWORKS.load(name))


def most_to_prove(real: Tensor, asked: int = 0) -> int:
    """The k that a gate is to shut up to: the largest at which it shuts out none of these real images [N, C, H, W].

    Where `asked`, the threat model's k, costs no more than GIVEN_UP of them, it is that: nothing sparse is left.
    """
    lit = lit_pixels(real)
    if (lit <= asked).double().mean() <= GIVEN_UP:
        return max(asked, int(lit.min()) - 1)
    return int(lit.min()) - 1


def train_gate(gate: nn.Sequential, real: Split, spec: ImageSpec, k: int, *, generator: torch.Generator) -> None:
    """Train a gate in place and leave it frozen; afterwards its bound over S_k is at most SHUT.

    The loss: real images open it, noise and shuffled real images shut it, and its own upper bound over S_k is at
    most SHUT, with k growing to its full size over the first half. What of the bound the loss leaves over is taken
    from the count's bias at every step.

    Args:
        gate: from `gate_network`.
        real: real training images, on the CPU; their labels do not matter.
        spec: the facts of an image.
        k: lit pixels up to which nothing passes, 0 or more.
        generator: draws everything, on the CPU.
    """
    device = next(gate.parameters()).device
    look, gather = gate[3], gate[5]
    trained = [*look.parameters(), *gather.parameters()]
    for weight in trained:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    draw = Replay(real, generator)
    for step in range(STEPS):
        images = draw.take(min(BATCH, len(real))).images
        if most := default_shift(spec):
            images = shifted(images, most, generator)
        odd = oddities(images, generator).to(device)
        bound = upper_logit(gate, spec, min(k, math.ceil(2 * k * (step + 1) / STEPS)))
        loss = REAL_WEIGHT * softplus(OPEN - 2 - gate(images.to(device))).mean()
        loss = loss + softplus(gate(odd) - SHUT).mean() + (bound - SHUT).clamp(min=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        _apart(gather)
    gate.requires_grad_(False)
    while (over := float(upper_logit(gate, spec, k)) - SHUT) > 0:
        look.bias[0] += over / STEEP + 1e-3


def _apart(gather: nn.Linear) -> None:
    """Keep the count and the oddness from mixing."""
    with torch.no_grad():
        gather.weight[0] = 0
        gather.weight[0, 0] = 1
        gather.weight[1, 0] = 0
        gather.bias[0] = 0


def oddities(images: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of any density and brightness, and the images' pixels in another order: [N, C, H, W] -> as many."""
    half = len(images) // 2
    density, brightness = torch.rand(2, len(images) - half, 1, 1, 1, generator=generator)
    noise = torch.rand(len(images) - half, *images.shape[1:], generator=generator)
    lit = torch.rand(len(noise), 1, *images.shape[2:], generator=generator) < density
    order = torch.rand(half, 1, images[0, 0].numel(), generator=generator).argsort(dim=2)
    shuffled = images[:half].flatten(2).gather(2, order.expand(-1, images.shape[1], -1)).view_as(images[:half])
    return torch.cat([noise * brightness * lit, shuffled])
