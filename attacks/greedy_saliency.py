"""Greedy saliency: light the pixels whose slope promises most, swap when there are k, prune what proves needless."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.search import Best, brightest, brightness, lit, margin, per_target, sparse_noise, uniform, uphill
from bench.types import Budget, Classifier, ThreatModel
from bench.verify import reached

ADDITIONS = 25  # a blank image has its k pixels after about this many steps, or one pixel a step
TENURE = 8  # a pixel that was swapped stays as it is for up to this many steps, or half of k if that is less
THETAS = (0.1, 1.0)  # the range of JSMA's theta, by how much a pixel changes; the first run has 1
PATIENCE = 30  # steps without a better margin, after which an image starts anew


def greedy_saliency(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Add the best pixels by the slope of z_t - logsumexp(z_other), at full brightness; once p is reached, prune.

    With k pixels lit and p not reached, the least useful are swapped for the best dark ones; what was swapped stays
    put for a while, so that the search leaves a peak it is on. From blank; a search that is stuck starts from sparse
    noise, swaps another number of pixels a step and moves all that are lit by a smaller theta. An image that reaches
    p loses its pixels one by one while p holds, those of least use first, each tried once.

    Papernot et al., JSMA, https://arxiv.org/abs/1511.07528; its saliency map stands on two Jacobian rows, here it
    is the one slope of their difference. Swaps with a memory: Glover, tabu search,
    https://doi.org/10.1287/ijoc.1.3.190.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; adding and swapping cost two a step, pruning one a pixel and two at first.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], where the first run starts instead of blank; its k brightest pixels count.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier it reaches p with the fewest pixels that can, within 1,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Best(classifier, targets, threat)
    free = per_target(mask, best.images)
    spent = grow(classifier, best, Growth.at(classifier, best, start, free), budget.passes, generator)
    prune(classifier, best, spent, budget.passes)
    return best.images


@dataclass
class Growth:
    """The images still open.

    Args:
        rows: [n] which target each is for.
        x: [n, C, H, W] in [0, 1], at most k pixels lit.
        free: [n, C, H, W].
        held: [n, 1, H, W] steps for which a pixel stays as it is.
        high: [n] the best margin of this run.
        stale: [n] steps since it got better.
        theta: [n, 1, 1, 1] by how much a pixel changes.
        most: [n, 1] how many pixels a step may swap.
    """

    rows: Tensor
    x: Tensor
    free: Tensor
    held: Tensor
    high: Tensor
    stale: Tensor
    theta: Tensor
    most: Tensor

    @classmethod
    def at(cls, classifier, best: Best, start: Tensor | None, free: Tensor) -> Growth:
        x = torch.zeros_like(best.images) if start is None else classifier.spec.round(start.to(free)) * free
        x = x * brightest(brightness(x), best.threat.k)
        zero = torch.zeros(len(x), device=x.device)
        rows = torch.arange(len(x), device=x.device)
        most = zero[:, None] + pixels_a_step(best.threat.k)
        return cls(rows, x, free, 0 * x[:, :1], zero - math.inf, zero, 1 + zero[:, None, None, None], most)

    def only(self, which: Tensor) -> Growth:
        return Growth(**{name: field[which] for name, field in vars(self).items()})


def slopes(classifier: Classifier, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits at images [n, C, H, W] and the slope of the margin there, for one forward and one backward pass."""
    seen = images.clone().requires_grad_()
    logits = classifier(seen)
    (slope,) = torch.autograd.grad(logits, seen, uphill(logits.detach(), targets))
    return logits.detach(), slope.nan_to_num(0, 0, 0)


def grow(classifier, best: Best, state: Growth, passes: int, generator) -> Tensor:
    """Add and swap until all are reached or passes run out -> [N] passes spent on each target."""
    spent = torch.zeros(len(best.targets), dtype=torch.long, device=best.images.device)
    for _ in range(passes // 2):
        targets = best.targets[state.rows]
        seen = classifier.spec.round(state.x)
        logits, slope = slopes(classifier, seen, targets)
        spent[state.rows] += 2
        still = best.record(state.rows, seen, logits).nonzero().squeeze(1)
        high = margin(logits, targets)
        state.stale = torch.where(high > state.high, 0, state.stale + 1)
        state.high = torch.maximum(state.high, high)
        state = state.only(still)
        if not len(still):
            break
        exchange(state, slope[still] * state.free, best.threat.k, generator)
        start_anew(state, classifier, best.threat.k, generator)
    return spent


def pixels_a_step(k: int) -> int:
    return max(1, round(k / ADDITIONS))


def exchange(state: Growth, slope: Tensor, k: int, generator: torch.Generator) -> None:
    """Light the pixels that promise most; beyond k, darken the least useful of those that were lit; in place."""
    n, _, height, width = state.x.shape
    device, on = slope.device, (brightness(state.x) > 0).flatten(1)
    may = (state.held <= 0).flatten(1)
    promise = slope.clamp(min=0).sum(dim=1).flatten(1)
    worth = (slope * state.x).sum(dim=1).flatten(1)  # what darkening a pixel would lose
    several = 1 + (uniform((n, 1), generator, device) * state.most).floor()
    room = k - on.sum(dim=1, keepdim=True)
    wanted = torch.where(room > 0, torch.minimum(room, state.most), several)
    entering = first(promise.where(~on & may & (promise > 0), torch.tensor(-math.inf, device=device)), wanted)
    excess = (entering.sum(dim=1, keepdim=True) - room).clamp(min=0)
    useless = (on & may & (worth < 0)).sum(dim=1, keepdim=True)
    # A pixel just lit leaves only if there is no other.
    leaving = first(
        (1e6 * may - worth).where(on, torch.tensor(-math.inf, device=device)),
        torch.maximum(excess, torch.minimum(useless, several)),
    )
    changing = on & ~leaving & (state.theta.flatten(1) < 1)  # not in the first run, whose pixels are at 0 or 1
    tenure = min(TENURE, max(1, k // 2))  # were all of few pixels held, the swaps would be left to chance
    pixels = (mask.view(n, 1, height, width) for mask in (entering, leaving, changing))
    shift(state, slope, *pixels, tenure, generator)


def first(order: Tensor, count: Tensor) -> Tensor:
    """Where the `count` [n, 1] largest of each row of order [n, P] lie, never one that is -inf -> [n, P] bool."""
    most = min(order.shape[1], int(count.max()))
    values, indices = order.topk(most, dim=1)
    chosen = (torch.arange(most, device=order.device) < count) & (values > -math.inf)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, indices, chosen)


def shift(state: Growth, slope, entering: Tensor, leaving: Tensor, changing: Tensor, tenure: int, generator) -> None:
    """Raise what enters by theta, move what changes by it, darken what leaves; hold what came or left; in place."""
    step = state.theta * slope.sign() * (entering | changing)
    state.x = (state.x + step).clamp_(0, 1) * ~leaving
    steps = 1 + (uniform(state.held.shape, generator, slope.device) * tenure).floor()
    state.held = torch.where(entering | leaving, steps, state.held - 1)


def start_anew(state: Growth, classifier, k: int, generator: torch.Generator) -> None:
    """Sparse noise for the images that are stuck, with another theta and number of swaps, in place."""
    stuck = (state.stale >= PATIENCE).nonzero().squeeze(1)
    if not len(stuck):
        return
    x = sparse_noise(len(stuck), classifier, generator) * state.free[stuck]
    low, high = THETAS
    theta, most = uniform((2, len(stuck), 1), generator, x.device)
    state.x[stuck] = x * brightest(brightness(x), k)
    state.theta[stuck] = (low * (high / low) ** theta)[:, :, None, None]
    state.most[stuck] = (k / 2) ** most if k > 2 else torch.ones_like(most)
    state.held[stuck], state.stale[stuck], state.high[stuck] = 0, 0, -math.inf


def prune(classifier, best: Best, spent: Tensor, passes: int) -> None:
    """Darken the pixels of what reached p, one by one, the least useful first, while p holds; in place.

    Args:
        spent: [N] passes spent on each target; none goes beyond `passes`.
    """
    rows = ((best.rank == math.inf) & (spent + 3 <= passes)).nonzero().squeeze(1)
    if not len(rows):
        return
    _, slope = slopes(classifier, best.images[rows], best.targets[rows])
    left = torch.minimum(passes - spent[rows] - 2, lit(best.images[rows]).long())
    on = brightness(best.images[rows]).flatten(1) > 0
    worth = (slope * best.images[rows]).sum(dim=1).flatten(1).masked_fill(~on, math.inf)
    order = worth.argsort(dim=1)
    for turn in range(int(left.max())):
        trying = left > turn
        rows, order, left = rows[trying], order[trying], left[trying]
        images, targets = best.images[rows], best.targets[rows]
        thinner = images.flatten(2).scatter(2, order[:, None, turn, None].expand(-1, images.shape[1], 1), 0)
        thinner = thinner.view_as(images)
        with torch.no_grad():
            holds = reached(classifier(thinner), thinner, targets, best.threat)
        best.images[rows[holds]] = thinner[holds]
