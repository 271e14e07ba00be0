"""Fast minimum-norm attacks: steps in a ball that shrinks while the image is confident and grows while it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.pgd_l0 import project
from attacks.prune import Sparsest, Walker, first_points, minimise
from attacks.search import brightness, lit, shrink
from bench.types import Budget, Classifier, ThreatModel

RUN = 2000  # passes of one run
ALPHA, LAST_ALPHA = 1.0, 0.01  # step length, first and last
GAMMA, LAST_GAMMA = 0.05, 0.001  # by which share the ball changes, first and last


def fmn_l0(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Ascend z_t - logsumexp(z_other) among the images of at most epsilon pixels, epsilon adapting to each image.

    Steps have unit length and decay; epsilon shrinks by the share gamma, or one pixel, while the harness would
    call the image confident, and grows likewise while not. Its clean image is the blank one. The slope is taken
    at the rounded image. What a run ends with is pruned.

    Pintor et al., Fast Minimum-Norm, https://arxiv.org/abs/2102.12827.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop; with k = 0 the whole budget is spent on ever fewer pixels.
        budget: passes per image; a step costs two, one forward and one backward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], where the first run starts instead of blank or sparse noise; later runs
            start from sparse noise.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; where no confident image of at most k pixels was seen, the sparsest
        confident one, else the likeliest of at most k. On a linear classifier it reaches p with at most 1.2
        times the fewest pixels that can, within 2,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    return fmn(Ball0, classifier, targets, threat, budget, generator, start, mask)


def fmn_l1(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """`fmn_l0` on the sum of the pixels' brightness instead of their number.

    Until an image was confident, epsilon is where a linear network would be. Of the images on the way, the one
    of fewest pixels is kept. Else, arguments, result and errors are those of `fmn_l0`; on a linear classifier it
    reaches p with at most 1.3 times the fewest pixels that can, within 2,000 passes.
    """
    return fmn(Ball1, classifier, targets, threat, budget, generator, start, mask)


def fmn(ball, classifier, targets, threat, budget, generator, start, mask) -> Tensor:
    """What the two share; `ball` is the walker's class."""
    best = Sparsest(classifier, targets, threat)

    def begin(rows: Tensor, run: int) -> Ball:
        x, free = first_points(classifier, rows, run, generator, start, mask)
        size = ball.norm(x)
        return ball(x, free, size.clamp(min=1), torch.full_like(size, math.inf))

    return minimise(best, classifier, begin, budget.passes, RUN)


@dataclass
class Ball(Walker):
    """The ball of every image.

    Args:
        epsilon: [n], the radius.
        least: [n], the smallest norm that was confident; infinite until one was.
    """

    epsilon: Tensor
    least: Tensor

    @staticmethod
    def norm(x: Tensor) -> Tensor:
        """Images [n, C, H, W] >= 0 -> [n]."""
        raise NotImplementedError

    def resized(self, slope: Tensor, gap: Tensor, confident: Tensor, gamma: float) -> Tensor:
        """The next epsilon [n]."""
        raise NotImplementedError

    def project(self) -> None:
        """Move x, which is at least 0, into the ball."""
        raise NotImplementedError

    def move(self, slope: Tensor, gap: Tensor, confident: Tensor, done: float) -> None:
        cosine = (1 + math.cos(math.pi * done)) / 2
        self.least = torch.where(confident, torch.minimum(self.least, self.norm(self.x)), self.least)
        epsilon = self.resized(slope, gap, confident, LAST_GAMMA + (GAMMA - LAST_GAMMA) * cosine)
        self.epsilon = epsilon.clamp(0, self.x[0].numel())
        length = torch.linalg.vector_norm(slope, dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        self.x.addcdiv_(slope, length, value=LAST_ALPHA + (ALPHA - LAST_ALPHA) * cosine).clamp_(min=0)
        self.project()
        self.x.clamp_(max=1)


class Ball0(Ball):
    """At most epsilon pixels."""

    norm = staticmethod(lit)

    def resized(self, slope: Tensor, gap: Tensor, confident: Tensor, gamma: float) -> Tensor:
        now = self.epsilon
        down = torch.minimum(torch.minimum(now - 1, (now * (1 - gamma)).floor()), self.least)
        return torch.where(confident, down, torch.maximum(now + 1, (now * (1 + gamma)).floor()))

    def project(self) -> None:
        self.x = project(self.x, self.epsilon)


class Ball1(Ball):
    """The sum of the pixels' brightness is at most epsilon."""

    @staticmethod
    def norm(x: Tensor) -> Tensor:
        return brightness(x).flatten(1).sum(dim=1)

    def resized(self, slope: Tensor, gap: Tensor, confident: Tensor, gamma: float) -> Tensor:
        down = torch.minimum(self.epsilon * (1 - gamma), self.least)
        steepest = torch.linalg.vector_norm(slope, dim=1).flatten(1).amax(dim=1).clamp_min(1e-12)
        edge = self.norm(self.x) - gap / steepest  # too near where pixels are full or rounded down: epsilon grows too
        edge = torch.where(torch.isfinite(self.least), self.epsilon, torch.maximum(edge, self.epsilon))
        up = edge * (1 + gamma)
        return torch.where(confident, down, up)

    def project(self) -> None:
        order = brightness(self.x).flatten(1).sort(dim=1, descending=True).values
        count = torch.arange(1, order.shape[1] + 1, device=order.device)
        excess = (order.cumsum(dim=1) - self.epsilon[:, None]) / count
        shrink(self.x, excess.amax(dim=1).clamp(min=0).view(-1, 1, 1, 1))
