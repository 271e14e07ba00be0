"""Sparse-PGD: a dense magnitude and a mask of k pixels, both climbing on the gradient at their product."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.search import Best, brightest, brightness, margin, noise, per_target, uphill
from bench.types import Budget, Classifier, ThreatModel

ALPHA = 0.25  # the step of the magnitude, of its range
BETA = 0.25  # the step of the mask, times the square root of the pixels
SETTLED = 3  # steps without a new mask or a better margin, after which the mask is drawn anew
LIT = 4  # the mask at a pixel that a start lights, at least; elsewhere it is normal
PATIENCE = 20  # steps without a better margin, after which it is, whatever the mask does


def sparse_pgd_projected(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Sparse-PGD with the projected gradient: only the magnitudes of the pixels in the mask move.

    The image is p * m, of a magnitude p in [0, 1] and the k largest entries m of a continuous mask. Each step takes
    the slope of z_t - logsumexp(z_other) at the rounded image, moves p by the slope's sign and the mask along the
    slope times p times the sigmoid's derivative, of fixed length. A mask that is stuck is drawn anew.
    From sparse noise: a uniform p, a mask of k pixels drawn from a normal distribution.

    Zhong et al., Sparse-PGD, https://arxiv.org/abs/2405.05075.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a step costs two, one forward and one backward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], the first p; its k brightest pixels are the first mask.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier it reaches p with at most 1.2 times the fewest pixels that can, within 2,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Best(classifier, targets, threat)
    ascend(classifier, best, Sparse.at(classifier, best, start, mask, generator), True, budget.passes, generator)
    return best.images


def sparse_pgd_unprojected(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Sparse-PGD with the unprojected gradient: the magnitudes of all pixels move, inside the mask or not.

    So a pixel is already bright, or dark, when the mask comes upon it. All else, the factor on linear classifiers
    included, is as in `sparse_pgd_projected`, and so are arguments, result, costs and errors.

    Zhong et al., Sparse-PGD, https://arxiv.org/abs/2405.05075.
    """
    best = Best(classifier, targets, threat)
    ascend(classifier, best, Sparse.at(classifier, best, start, mask, generator), False, budget.passes, generator)
    return best.images


class Sparse(NamedTuple):
    """The images still open."""

    rows: Tensor  # [n] which target each is for
    p: Tensor  # [n, C, H, W] in [0, 1]
    m: Tensor  # [n, 1, H, W], the continuous mask
    free: Tensor  # [n, C, H, W]
    chosen: Tensor  # [n, 1, H, W], the mask of the step before
    high: Tensor  # [n] the best margin since the mask was drawn
    settled: Tensor  # [n] steps without a new mask or a better margin
    stale: Tensor  # [n] steps without a better margin

    @classmethod
    def at(cls, classifier, best: Best, start, mask, generator) -> Sparse:
        count, device = len(best.targets), classifier.device
        p = noise(count, classifier, generator) if start is None else start.to(best.images)
        m = normal((count, 1, *p.shape[2:]), generator, device)
        if start is not None:  # above the noise, yet where the sigmoid has a slope left
            m = torch.where(brightness(p) > 0, LIT * (1 + brightness(p)), m)
        zero = torch.zeros(count, device=device)
        rows = torch.arange(count, device=device)
        return cls(rows, p, m, per_target(mask, p), torch.zeros_like(m), zero - math.inf, zero, zero)

    def only(self, which: Tensor) -> Sparse:
        return Sparse(*(field.index_select(0, which) for field in self))


def normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(shape, generator=generator).to(device)


def ascend(classifier, best: Best, state: Sparse, projected: bool, passes: int, generator) -> None:
    """Steps of all open images, recorded in best; at most `passes` passes an image."""
    for spent in range(1, passes + 1, 2):
        chosen = select(state, best.threat.k)
        seen = classifier.spec.round(state.p * chosen * state.free).requires_grad_()
        logits = classifier(seen)
        still = best.record(state.rows, seen.detach(), logits.detach()).nonzero().squeeze(1)
        if spent + 2 > passes or not len(still):
            return
        targets = best.targets[state.rows]
        (slope,) = torch.autograd.grad(logits, seen, uphill(logits.detach(), targets))
        reached = margin(logits.detach(), targets)
        if len(still) < len(slope):
            state, slope, chosen, reached = (state.only(still), slope[still], chosen[still], reached[still])
        state = step(state, slope.nan_to_num(0, 0, 0) * state.free, chosen, reached, projected)
        state = redraw_stuck(state, generator)


def select(state: Sparse, k: int) -> Tensor:
    """1 at the k largest entries of each mask among the free pixels -> [n, 1, H, W]."""
    above = state.m - state.m.amin(dim=(2, 3), keepdim=True) + 1e-3
    return brightest(above * state.free.amax(dim=1, keepdim=True), k)


def step(state: Sparse, slope: Tensor, chosen: Tensor, reached: Tensor, projected: bool) -> Sparse:
    """One step of mask and magnitude, both from the slope at the image just seen."""
    sigma = state.m.sigmoid()
    toward = (slope * state.p).sum(dim=1, keepdim=True) * sigma * (1 - sigma)
    length = toward.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
    m = state.m + BETA * math.sqrt(toward[0].numel()) * toward / length
    p = (state.p + ALPHA * (slope * chosen if projected else slope).sign()).clamp(0, 1)
    better, same = reached > state.high, (chosen == state.chosen).flatten(1).all(dim=1)
    settled = torch.where(same & ~better, state.settled + 1, 0)
    stale = torch.where(better, 0, state.stale + 1)
    return Sparse(state.rows, p, m, state.free, chosen, torch.maximum(reached, state.high), settled, stale)


def redraw_stuck(state: Sparse, generator: torch.Generator) -> Sparse:
    """New masks for the images that are stuck."""
    stuck = ((state.settled >= SETTLED) | (state.stale >= PATIENCE)).nonzero().squeeze(1)
    if len(stuck):
        state.m[stuck] = normal((len(stuck), *state.m.shape[1:]), generator, state.m.device)
        state.high[stuck], state.settled[stuck], state.stale[stuck] = -math.inf, 0, 0
    return state
