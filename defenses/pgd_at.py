"""Adversarial training on real images: what a small change of every pixel can do, not what comes from nothing.

Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, https://arxiv.org/abs/1706.06083. Its
code trains for 100,000 steps; within the 1,700 of here a network on MNIST never leaves chance where the whole ball is
there from the first, so it grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.materials.split import Split
from bench.seeds import generator
from bench.task import Recorder, Round, Task, defense
from bench.types import ImageSpec
from defenses.alone import one_round
from defenses.linf import random_start, worst


class Ball(NamedTuple):
    """How far a pixel may go, how far each step takes it, and how many steps there are."""

    radius: float
    step: float
    steps: int


GREY, SIDE = Ball(0.3, 0.01, 40), 28  # the paper's for MNIST, whose images are that wide
COLOUR = Ball(8 / 255, 2 / 255, 7)  # the paper's for CIFAR-10
GROWTH = 0.5  # the share of the training after which the ball has its whole size


@defense()
def pgd_at(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once, on the worst image in the ball of each real one; one round, no images, no training history."""
    draw, ball = generator(task.seed, "pgd_at", "starts"), ball_of(task.spec)

    def alter(network: nn.Module, real: Split, over: float) -> Tensor:
        return attacked(network, real, scaled(ball, min(1, over / GROWTH)), draw)

    yield from one_round(task, recorder, "pgd_at", alter=alter)


def attacked(network: nn.Module, real: Split, ball: Ball, generator: torch.Generator) -> Tensor:
    """The image of greatest cross-entropy in the ball around each real one, from a random start -> [N, C, H, W]."""
    device = next(network.parameters()).device
    labels = real.labels.to(device)
    return worst(
        network,
        lambda logits: cross_entropy(logits, labels, reduction="none"),
        real.images.to(device),
        random_start(real.images, ball.radius, generator).to(device),
        **ball._asdict(),
    )


def ball_of(spec: ImageSpec) -> Ball:
    """The paper's for such images; grey ones less than SIDE wide get as much less of it.

    A smaller image draws the same thing with fewer pixels, and each of them is a mean of many: strokes fade to grey,
    and a change that leaves MNIST's black and white apart wipes them out.
    """
    if spec.shape[0] > 1:
        return COLOUR
    return scaled(GREY, min(1, max(spec.shape[1:]) / SIDE))


def scaled(ball: Ball, share: float) -> Ball:
    """As many steps, each as much shorter as the ball is smaller."""
    return Ball(ball.radius * share, ball.step * share, ball.steps)
