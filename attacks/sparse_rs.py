"""Sparse-RS: a random search over which k pixels are lit, and to which corner of the colour cube."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from attacks.search import Best, brightness, margin, per_target, uniform
from bench.types import Budget, Classifier, ThreatModel

ALPHA_INIT = 0.3  # share of the k pixels that is swapped at first
SCHEDULE = ((0, 2), (50, 4), (200, 5), (500, 6), (1000, 8), (2000, 10), (4000, 12), (6000, 15), (8000, 20))
LENGTH = 10_000  # the steps that the schedule is written for; it is stretched to the budget
DARK = 0.9  # the largest share of black among an image's new colours; every other image's is 0
PATIENCE = 500  # steps without a likelier image, after which one starts anew


def sparse_rs(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Swap some of the k pixels for others with random corner colours; keep what is no less likely. A black box.

    A swap takes A out of the set M of k pixels and puts as many, B, in from the rest; their number is alpha * k,
    and alpha falls by the paper's schedule, stretched to the budget. Loss: z_t - logsumexp(z_other).
    From sparse noise: k random pixels with random corner colours. Black is a corner, but on a blank image it is no
    pixel at all, so a grey image's first run has none; an image that is stuck starts anew and draws how many.

    Croce et al., Sparse-RS, https://arxiv.org/abs/2006.12834.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F]; no gradient is asked for.
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a step costs one, forward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], the first image; M is its k brightest pixels.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier of up to 64 pixels it reaches p with at most 1.5 times the fewest that can, within 4,000 passes.

    Raises:
        RuntimeError: shapes that do not fit.
    """
    best = Best(classifier, targets, threat)
    state = trial = Pixels.at(classifier, best, start, per_target(mask, best.images), generator)
    for spent in range(1, budget.passes + 1):
        with torch.no_grad():
            logits = classifier(trial.x)
        still = best.record(state.rows, trial.x, logits)
        state = state.accept(trial, margin(logits, best.targets[state.rows])).only(still)
        if not len(state.rows):
            break
        trial = swap(state, alpha(spent / budget.passes), generator)
        if len(stuck := (state.stale >= PATIENCE).nonzero().squeeze(1)):
            trial.replace(stuck, fresh(classifier, state.free[stuck], threat.k, generator))
            state.fitness[stuck] = -torch.inf
    return best.images


def alpha(progress: float) -> float:
    """The share of pixels to swap when so much of the budget, in [0, 1], is spent."""
    return ALPHA_INIT / max(divisor for after, divisor in SCHEDULE if progress * LENGTH >= after)


class Pixels(NamedTuple):
    """The images still open: which pixels each may light, and how it does."""

    rows: Tensor  # [n] which target each is for
    free: Tensor  # [n, C, H, W]
    inside: Tensor  # [n, 1, H, W] bool, the set M
    x: Tensor  # [n, C, H, W] on the value grid, 0 outside M
    dark: Tensor  # [n, 1, 1, 1] how often a new colour is black beyond its turn
    fitness: Tensor  # [n]
    stale: Tensor  # [n] steps since it rose

    @classmethod
    def at(cls, classifier, best: Best, start: Tensor | None, free: Tensor, generator) -> Pixels:
        inside, x, _ = fresh(classifier, free, best.threat.k, generator)
        dark = torch.zeros(len(x), 1, 1, 1, device=x.device)
        x = colours(dark, free, generator) * inside
        if start is not None:
            x = classifier.spec.round(start.to(free)) * free
            # Its brightest pixels come first, then those that chance has put into M.
            inside = pick(1e3 * brightness(x) + inside, best.threat.k)
            x = x * inside
        rows = torch.arange(len(x), device=x.device)
        return cls(rows, free, inside, x, dark, torch.full((len(x),), -torch.inf, device=x.device), 0 * rows)

    def only(self, which: Tensor) -> Pixels:
        return self if which.all() else Pixels(*(field[which] for field in self))

    def accept(self, trial: Pixels, fitness: Tensor) -> Pixels:
        """The trial's images where they are no less likely than one's own."""
        takes = fitness >= self.fitness
        wide = takes[:, None, None, None]
        stale = torch.where(fitness > self.fitness, 0, self.stale + 1)
        kept = (torch.where(wide, new, old) for old, new in zip(self[2:5], trial[2:5], strict=True))
        return Pixels(self.rows, self.free, *kept, torch.where(takes, fitness, self.fitness), stale)

    def replace(self, which: Tensor, images: tuple[Tensor, Tensor, Tensor]) -> None:
        """Put inside, x and dark of other images where which [m] says, in place."""
        for field, values in zip(self[2:5], images, strict=True):
            field[which] = values


def fresh(classifier, free: Tensor, k: int, generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random images within free [n, C, H, W] -> inside, x and dark."""
    count, _, height, width = free.shape
    order = uniform((count, 1, height, width), generator, free.device)
    share, odd = uniform((2, count, 1, 1, 1), generator, free.device)
    dark = DARK * share * (odd < 0.5)
    inside = pick(order + 2 * free.amax(dim=1, keepdim=True), k)
    return inside, colours(dark, free, generator) * inside, dark


def colours(dark: Tensor, free: Tensor, generator: torch.Generator) -> Tensor:
    """A random corner for every pixel, black more often by `dark`: [n, 1, 1, 1] -> [n, C, H, W]."""
    count, channels, height, width = free.shape
    corners = (uniform(free.shape, generator, free.device) < 0.5).to(free)
    if channels == 1:
        corners = torch.ones_like(free)  # the other corner is black, and `dark` says how often
    return corners * free * (uniform((count, 1, height, width), generator, free.device) >= dark)


def pick(order: Tensor, count: int) -> Tensor:
    """Where the `count` largest of each image lie: [n, 1, H, W] -> the same, bool."""
    flat = order.flatten(1)
    chosen = flat.topk(min(count, flat.shape[1]), dim=1, sorted=False).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True).view_as(order)


def swap(state: Pixels, share: float, generator: torch.Generator) -> Pixels:
    """A out of M, B in, of random corner colours; a pixel that left may come back with another colour."""
    count = max(1, round(share * int(state.inside[0].sum())))
    leave, enter = uniform((2, *state.inside.shape), generator, state.x.device)
    kept = state.inside & ~pick(leave + state.inside, count)
    entering = pick(enter + 2 * state.free.amax(dim=1, keepdim=True) - 4 * kept.to(enter), count)
    x = torch.where(entering, colours(state.dark, state.free, generator), state.x * kept)
    return state._replace(inside=kept | entering, x=x, dark=state.dark.clone())
