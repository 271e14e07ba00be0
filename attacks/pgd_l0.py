"""PGD-L0: projected steps on images of at most k pixels, with k bisected for each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.prune import Sparsest, Walker, first_points, minimise
from attacks.search import lit, sparse_noise, uniform
from bench.types import Budget, Classifier, ThreatModel

RUN = 2000  # passes of one run
TRIAL = 20  # steps with one k, unless it is reached sooner
STEPS = (0.3, 3.0)  # the range of eta, in units that move the steepest value by 1; each trial draws its own


def pgd_l0(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Ascend z_t - logsumexp(z_other) on the images of at most k pixels, for a k that is bisected.

    A step goes eta along the slope and back to the nearest image of at most k pixels in [0, 1]. A k that is reached
    goes on from there with a smaller one; a k that is not, in TRIAL steps, gives way to a larger one, from new
    noise. Where the two meet, one pixel fewer than the sparsest is tried again and again. Every other trial is
    at `threat.k` itself, where that is not 0. What a run ends with is pruned.

    Croce & Hein, Sparse and Imperceivable Adversarial Attacks, https://arxiv.org/abs/1909.05040.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop; with k = 0 the whole budget is spent on ever fewer pixels.
        budget: passes per image; a step costs two, one forward and one backward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], where the first trial starts instead of blank or sparse noise.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; where no confident image of at most k pixels was seen, the sparsest
        confident one, else the likeliest of at most k. On a linear classifier it reaches p with the fewest
        pixels that can, within 2,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Sparsest(classifier, targets, threat)

    def begin(rows: Tensor, run: int) -> PgdL0:
        x, free = first_points(classifier, rows, run, generator, start, mask)
        zero = torch.zeros(len(rows), device=x.device)
        high = torch.where(best.confident[rows], lit(best.images[rows]), classifier.spec.pixels + 1.0)
        low = torch.where(best.confident[rows], high, zero)
        state = PgdL0(x, free, low, high, zero, zero, zero, zero, threat.k, classifier, generator)
        state.aim(zero == 0)
        return state

    return minimise(best, classifier, begin, budget.passes, RUN)


@dataclass
class PgdL0(Walker):
    """The state of every image's bisection.

    Args:
        low, high: [n], the most pixels that failed and the fewest that were confident.
        k: [n], what is tried now.
        trials: [n], how many there were.
        age: [n], steps of this one.
        eta: [n], its step length.
        wanted: the threat model's k.
        classifier, generator: for new starts.
    """

    low: Tensor
    high: Tensor
    k: Tensor
    trials: Tensor
    age: Tensor
    eta: Tensor
    wanted: int
    classifier: Classifier
    generator: torch.Generator

    def move(self, slope: Tensor, gap: Tensor, confident: Tensor, done: float) -> None:
        pixels = lit(self.classifier.spec.round(self.x))
        self.high = torch.where(confident, torch.minimum(self.high, pixels), self.high)
        self.age = self.age + 1
        failed = ~confident & (self.age > TRIAL)
        self.low = torch.where(failed, torch.maximum(self.low, self.k), self.low)
        self.aim(confident | failed)
        steepest = slope.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        point = self.x + self.eta.view(-1, 1, 1, 1) * slope / steepest
        fresh = failed.nonzero().squeeze(1)
        point[fresh] = sparse_noise(len(fresh), self.classifier, self.generator) * self.free[fresh]
        self.x = project(point, self.k)

    def aim(self, which: Tensor) -> None:
        """A new k and eta where which [n]."""
        middle = torch.minimum(((self.low + self.high) / 2).floor(), self.high - 1)
        if self.wanted:
            middle = torch.where(self.trials % 2 == 0, self.wanted, middle)
        low, high = STEPS
        eta = low * (high / low) ** uniform(self.eta.shape, self.generator, self.eta.device)
        self.k = torch.where(which, middle.clamp(min=1), self.k)
        self.eta = torch.where(which, eta, self.eta)
        self.age = torch.where(which, 0, self.age)
        self.trials = self.trials + which


def project(point: Tensor, k: Tensor) -> Tensor:
    """The nearest images of at most k pixels in [0, 1]: [n, C, H, W] of any values, [n] -> [n, C, H, W]."""
    inside = point.clamp(0, 1)
    gain = (point.square() - (point - inside).square()).sum(dim=1).flatten(1)
    place = gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return inside * (place < k[:, None]).view(len(point), 1, *point.shape[2:])
