"""Sigma-zero: a smooth count of pixels, minimised under Adam with a threshold that adapts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.prune import Sparsest, Walker, first_points, minimise
from attacks.search import brightness
from bench.types import Budget, Classifier, ThreatModel

RUN = 2000  # passes of one run
ETA, LAST_ETA = 1.0, 0.1  # step length, first and last
SIGMA = 1e-3  # how sharply a pixel counts
TAU, TAU_RATE = 0.3, 0.01  # the first threshold, and its change a step over the step length
BETAS = (0.9, 0.999)


def sigma_zero(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Minimise max(0, -f) + the mean over pixels of x^2 / (x^2 + sigma), f = z_t - logsumexp(z_other) - log(p/(1-p)).

    Its clean image is the blank one. The gradient is scaled to its largest entry and followed with Adam; then pixels
    below tau are darkened, and tau rises while the image is confident and falls while it is not. A pixel's x is
    its norm over the channels. The slope of f is taken at the rounded image, and f counts as reached when the
    harness says so. What a run ends with is pruned.

    Cinà et al., sigma-zero, https://arxiv.org/abs/2402.01879.

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
        confident one, else the likeliest of at most k. On a linear classifier it reaches p with at most 1.05
        times the fewest pixels that can, within 2,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Sparsest(classifier, targets, threat)

    def begin(rows: Tensor, run: int) -> SigmaZero:
        x, free = first_points(classifier, rows, run, generator, start, mask)
        zero = torch.zeros_like(x)
        return SigmaZero(x, free, zero, zero.clone(), torch.full_like(x[:, :1, :1, :1], TAU), 0)

    return minimise(best, classifier, begin, budget.passes, RUN)


@dataclass
class SigmaZero(Walker):
    """Adam and the threshold of every image.

    Args:
        first, second: [n, C, H, W], Adam's moments.
        tau: [n, 1, 1, 1], below which a pixel is darkened.
        steps: so far.
    """

    first: Tensor
    second: Tensor
    tau: Tensor
    steps: int

    def move(self, slope: Tensor, gap: Tensor, confident: Tensor, done: float) -> None:
        confident = confident.view(-1, 1, 1, 1)
        square = self.x.square().sum(dim=1, keepdim=True)
        counted = 2 * SIGMA * self.x / (square + SIGMA).square() / square[0].numel()
        gradient = counted - torch.where(confident, 0, slope)
        gradient /= gradient.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        eta = LAST_ETA + (ETA - LAST_ETA) * (1 + math.cos(math.pi * done)) / 2
        self.adam(gradient, eta)
        self.tau = (self.tau + torch.where(confident, eta * TAU_RATE, -eta * TAU_RATE)).clamp_(0, 1)
        self.x *= (brightness(self.x) >= self.tau) * self.free

    def adam(self, gradient: Tensor, eta: float) -> None:
        """One step down the gradient, kept in [0, 1]."""
        self.steps += 1
        self.first.lerp_(gradient, 1 - BETAS[0])
        self.second.lerp_(gradient.square(), 1 - BETAS[1])
        unit = (self.second / (1 - BETAS[1] ** self.steps)).sqrt_().add_(1e-8)
        self.x.addcdiv_(self.first, unit, value=-eta / (1 - BETAS[0] ** self.steps)).clamp_(0, 1)
