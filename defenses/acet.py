"""Adversarial confidence enhancing training: sure of nothing around noise, even where the network is surest.

Hein, Andriushchenko and Bitterwolf, Why ReLU networks yield high-confidence predictions far away from the training
data and how to mitigate the problem, https://arxiv.org/abs/1812.05720; what the paper leaves open is as in its code,
https://github.com/max-andr/relu_networks_overconfident.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.materials.split import Split
from bench.materials.training import Unlabelled
from bench.seeds import generator
from bench.task import Recorder, Round, Task, defense
from defenses.alone import one_round
from defenses.linf import random_start, worst

RADIUS, STEPS = 0.3, 40  # STEPS of the radius over STEPS each
WEIGHT = 1.0  # lambda; as much noise as real images
SIGMAS = (1.0, 2.5)  # the range of the low-pass filter, in pixels of an image at least SIDE wide; less on smaller ones
SIDE = 28


@defense()
def acet(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once on real data and the surest images near noise; one round, no images, no training history."""
    draw = generator(task.seed, "acet", "noise")

    def around(network: nn.Module, real: Split) -> Tensor:
        return surest(network, noise(real.images, draw), draw)

    yield from one_round(task, recorder, "acet", unlabelled=Unlabelled(around, max_log_confidence, WEIGHT))


def max_log_confidence(logits: Tensor) -> Tensor:
    """The log of the largest softmax probability: [N, outputs] -> [N]; it is attacked, and what training lowers."""
    return logits.log_softmax(dim=1).amax(dim=1)


def surest(network: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    """Where in the ball around each image [N, C, H, W] the network is surest of any class -> the same shape.

    The ascent starts at random, up to a distance that each image draws for itself.
    """
    device = next(network.parameters()).device
    start = random_start(images, RADIUS * torch.rand(len(images), 1, 1, 1, generator=generator), generator)
    return worst(
        network,
        max_log_confidence,
        images.to(device),
        start.to(device),
        radius=RADIUS,
        step=RADIUS / STEPS,
        steps=STEPS,
    )


def noise(real: Tensor, generator: torch.Generator) -> Tensor:
    """Half real images with their pixels in another order, half uniform noise, all low-passed -> [N, C, H, W].

    A pixel keeps its channels together. After the filter, whose width each call draws anew, every image is stretched
    to the whole of [0, 1].
    """
    count, half = len(real), len(real) // 2
    order = torch.rand(half, 1, real[0, 0].numel(), generator=generator).argsort(dim=2)
    permuted = real[:half].flatten(2).gather(2, order.expand(-1, real.shape[1], -1)).view_as(real[:half])
    images = torch.cat([permuted, torch.rand(count - half, *real.shape[1:], generator=generator)])
    low, high = (sigma * min(1, max(real.shape[2:]) / SIDE) for sigma in SIGMAS)
    blurred = blur(images, low + (high - low) * float(torch.rand((), generator=generator)))
    least, most = (extreme(blurred, dim=(1, 2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
    return (blurred - least) / (most - least).clamp_min(torch.finfo(torch.float32).tiny)


def blur(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian filter of images [N, C, H, W], its weights made to sum to 1 at the border too."""

    def weights(length: int) -> Tensor:
        place = torch.arange(length, dtype=torch.float32)
        return (-((place[:, None] - place) ** 2) / (2 * sigma**2)).softmax(dim=1)

    return weights(images.shape[2]) @ images @ weights(images.shape[3]).T
