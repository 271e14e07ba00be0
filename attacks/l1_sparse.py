"""L1-penalised ascent with a lambda of each image's own, from noise, on the k brightest pixels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.search import (
    Best,
    brightest,
    brightness,
    lit,
    noise,
    per_target,
    shrink,
    sparse_noise,
    uniform,
    uphill,
)
from bench.types import Budget, Classifier, ThreatModel

STEPS = (0.05, 2.0)  # the range of step lengths; every run of every image draws its own
STEP_DECAY = 0.1  # the last step of a run over its first
MOMENTA = (0.05, 1.0)  # the range of 1 - momentum
LAMBDAS = (0.01, 1.0)
LAMBDA_RATE = 1.1
POOL = 4  # lambda keeps about this many times k pixels of the iterate alive, or half of what k leaves
CEILING = (2.0, 4.0)  # pixels at 1 keep growing behind the clip, each to a height of its own: no ties
SQUARE_RATE = 0.1
FLOOR = 1e-3  # least root of a mean square slope, in units of the image's own
CROWD = 7 / 8  # finished images leave once no more than this share of the batch is open
RUN = 50  # steps from one start


def l1_sparse(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Maximise z_t - logsumexp(z_other) - lambda * (sum of pixel brightness) by proximal gradient steps.

    Every step looks at the rounded image of the k brightest pixels, takes the gradient there (straight through
    the rounding and the choice of pixels) and moves the whole iterate, whose own lambda rises while too many of
    its pixels live and falls while too few do. After RUN steps an image that is not there yet starts again from
    new noise, of random density and brightness, with another lambda, step length, momentum and measure of the
    slope: a network trained against one setting of these is seldom safe from all.

    Proximal steps: Chen et al., EAD, https://arxiv.org/abs/1709.04114. Gradients at the k-sparse image that
    move a dense one: Zhong et al., Sparse-PGD, https://arxiv.org/abs/2405.05075.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a step costs two, one forward and one backward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], where the first run starts instead of noise.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier it reaches p with at most 1.1 times the fewest pixels that can, within 1,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Best(classifier, targets, threat)
    left, draw = budget.passes, noise
    while left > 0 and len(rows := best.open):
        first = draw(len(rows), classifier, generator) if start is None else start.to(classifier.device)[rows]
        free = None if mask is None else per_target(mask, best.images)[rows]
        climb(classifier, best, Climber.at(rows, first, free, generator), min(left, 2 * RUN))
        left -= 2 * RUN
        draw, start = sparse_noise, None
    return best.images


class Climber(NamedTuple):
    """The images of one run that are still open, their moments, and the settings each has drawn."""

    ceiling: Tensor  # [1, 1, H, W], the same for all
    rows: Tensor  # [n]
    x: Tensor  # [n, C, H, W], as are the next two
    direction: Tensor
    square: Tensor
    step: Tensor  # [n, 1, 1, 1], as are those that follow
    drag: Tensor
    lam: Tensor
    flat: Tensor
    free: Tensor  # the mask, [n, C, H, W], or ones

    @classmethod
    def at(cls, rows: Tensor, x: Tensor, free: Tensor | None, generator: torch.Generator) -> Climber:
        def between(low: float, high: float) -> Tensor:
            return low * (high / low) ** uniform((len(x), 1, 1, 1), generator, x.device)

        step, drag, lam = between(*STEPS), between(*MOMENTA), between(*LAMBDAS)
        flat = between(0.25, 1).round()  # 0 or 1, evenly
        free = torch.ones_like(step) if free is None else free
        low, high = CEILING
        ceiling = low + (high - low) * uniform((1, 1, *x.shape[2:]), generator, x.device)
        return cls(ceiling, rows, x.mul_(free), torch.zeros_like(x), torch.zeros_like(x), step, drag, lam, flat, free)

    def only(self, which: Tensor) -> Climber:
        return Climber(self.ceiling, *(field.index_select(0, which) for field in self[1:]))


def climb(classifier: Classifier, best: Best, state: Climber, passes: int) -> None:
    """One run, recorded in best; at most `passes` passes an image."""
    k = best.threat.k
    pool = min(POOL * k, (k + classifier.spec.pixels) // 2)
    for spent in range(1, passes + 1, 2):
        seen = classifier.spec.round(state.x).mul_(brightest(brightness(state.x), k)).requires_grad_()
        logits = classifier(seen)
        still = best.record(state.rows, seen.detach(), logits.detach()).nonzero().squeeze(1)
        if spent + 2 > passes or not len(still):
            return
        targets = best.targets.index_select(0, state.rows)
        (slope,) = torch.autograd.grad(logits, seen, uphill(logits.detach(), targets))
        if len(still) <= CROWD * len(slope):
            state, slope = state.only(still), slope.index_select(0, still)
        move(state, slope, STEP_DECAY ** (spent / passes), pool)


def move(state: Climber, slope: Tensor, pace: float, pool: int) -> None:
    """One proximal step of every image, in place; slope is used up.

    Where `flat` is 1, the direction of each pixel is measured in its own recent slopes (as in Adam), so that all
    move alike; where it is 0, in those of the image, so that the steepest pixels get ahead.
    """
    scale = torch.linalg.vector_norm(slope, dim=(1, 2, 3), keepdim=True) / math.sqrt(slope[0].numel())
    slope = slope.contiguous().mul_(state.free / scale.clamp_min_(1e-30))
    if not scale.isfinite().all():
        slope = slope.nan_to_num_(0, 0, 0)
    state.direction.lerp_(slope, state.drag)
    state.square.lerp_(slope.square_(), SQUARE_RATE)
    step = state.step * pace
    unit = torch.sqrt(state.square, out=slope).mul_(state.flat / step).add_((1 + FLOOR - state.flat) / step)
    state.x.addcdiv_(state.direction, unit)
    torch.minimum(shrink(state.x, step * state.lam), state.ceiling, out=state.x)
    state.lam.mul_(torch.where(lit(state.x) > pool, LAMBDA_RATE, 1 / LAMBDA_RATE).view_as(state.lam))
