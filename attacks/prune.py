"""What the attacks that minimise pixels share: the sparsest image so far, the walk, and thinning at its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from attacks.search import lit, margin, sparse_noise, uniform, uphill
from bench.types import Classifier, ThreatModel, lit_pixels
from bench.verify import reached, target_probability

THINNING = 0.1  # the share of a run's passes that is kept for pruning what the run found


class Sparsest:
    """The sparsest confident rounded image seen of every target, else the likeliest with at most k lit pixels.

    An image that is confident with at most k closes its target. Until one is seen a target's image is blank.

    Args:
        classifier: the network under attack.
        targets: [N] real classes.
        threat: when an image counts as confident, and as sparse enough to look no further.
    """

    def __init__(self, classifier: Classifier, targets: Tensor, threat: ThreatModel):
        self.targets, self.threat = targets.to(classifier.device), threat
        self.dense = ThreatModel(threat.p, classifier.spec.pixels)  # any number of pixels
        self.images = torch.zeros(len(targets), *classifier.spec.shape, device=classifier.device)
        self.rank = torch.full((len(targets),), -math.inf, device=classifier.device)
        self.closed = torch.zeros(len(targets), dtype=torch.bool, device=classifier.device)

    @property
    def open(self) -> Tensor:
        """Indices of the targets not yet closed -> [n]."""
        return (~self.closed).nonzero().squeeze(1)

    @property
    def confident(self) -> Tensor:
        """Which targets have a confident image, of however many pixels -> [N] bool."""
        return self.rank >= 1

    def record(self, rows: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        """Keep what is better than before -> [n] bool, which of these images are confident.

        Args:
            rows: [n] which target each image is for, none twice.
            images: [n, C, H, W] on the value grid.
            logits: [n, K + F] of exactly these images.
        """
        targets, pixels = self.targets[rows], lit_pixels(images)
        confident = reached(logits, images, targets, self.dense)
        probability = target_probability(logits, targets)
        rank = torch.where(pixels <= self.threat.k, probability / 2, -math.inf)
        rank = torch.where(confident, 1 + self.dense.k - pixels + probability / 2, rank)
        self.closed[rows] |= reached(logits, images, targets, self.threat)
        self.keep(rows, images, rank)
        return confident

    def keep(self, rows: Tensor, images: Tensor, rank: Tensor) -> None:
        """Images [n, C, H, W] with their rank [n], where it is higher; one that is not a number never is."""
        better = rank > self.rank[rows]
        self.rank[rows[better]], self.images[rows[better]] = rank[better], images[better]


@dataclass
class Walker:
    """The iterates of the images still open; every field that is a tensor has one entry an image.

    Args:
        x: [n, C, H, W] in [0, 1]; what is rounded and looked at.
        free: the mask, [n, C, H, W].
    """

    x: Tensor
    free: Tensor

    def only(self, which: Tensor) -> Self:
        tensors = {name: field for name, field in vars(self).items() if isinstance(field, Tensor)}
        return replace(self, **{name: field[which] for name, field in tensors.items()})

    def move(self, slope: Tensor, gap: Tensor, confident: Tensor, done: float) -> None:
        """One step, in place.

        Args:
            slope: [n, C, H, W], the derivative of `gap` by the rounded image, 0 where the mask is.
            gap: [n], z_t - logsumexp(z_other) - log(p / (1 - p)), at least 0 where p is reached.
            confident: [n] bool, as the harness decides it.
            done: the share of the run behind it, in [0, 1).
        """
        raise NotImplementedError


def minimise(
    best: Sparsest, classifier: Classifier, begin: Callable[[Tensor, int], Walker], passes: int, run: int
) -> Tensor:
    """Run after run, of at most `run` passes an image, until all targets are closed or the passes spent.

    The best image of every run is pruned with the last part of its passes and then compared with earlier ones.

    Args:
        begin: (rows [n], number of the run) -> the walker of these targets.
    """
    number = 0
    while passes > 0 and len(rows := best.open):
        spend = passes if passes < 2 * run else run  # no run is shorter than it must be
        found = Sparsest(classifier, best.targets[rows], best.threat)
        thinning = int(THINNING * spend)
        walk(classifier, found, begin(rows, number), spend - thinning)
        thin(classifier, found, thinning)
        best.closed[rows] |= found.closed
        best.keep(rows, found.images, found.rank)
        passes, number = passes - spend, number + 1
    return best.images


def first_points(
    classifier: Classifier,
    rows: Tensor,
    run: int,
    generator: torch.Generator,
    start: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Where the targets `rows` [n] start, and the mask as one of each of them -> both [n, C, H, W].

    Run 0 starts from `start`, where given; else each image is blank or sparse noise, evenly at random, so that
    images of one class, and restarts, come out different. Later runs start from sparse noise.
    """
    free = torch.ones(1, 1, 1, 1) if mask is None else mask
    free = free.to(classifier.device, torch.float32)
    free = free[rows] if len(free) > 1 else free.expand(len(rows), -1, -1, -1)
    if run == 0 and start is not None:
        x = start.to(classifier.device, torch.float32)[rows]
    else:
        x = sparse_noise(len(rows), classifier, generator)
        if run == 0:
            x *= uniform((len(rows), 1, 1, 1), generator, classifier.device) < 0.5
    return x * free, free.expand_as(x)


def walk(classifier: Classifier, found: Sparsest, state: Walker, passes: int) -> None:
    """One run, recorded in found; at most `passes` passes an image, two a step."""
    rows = torch.arange(len(found.targets), device=classifier.device)
    odds = torch.logit(found.threat.p_of(found.targets).clamp(max=1 - 1e-7))
    for spent in range(1, passes + 1, 2):
        seen = classifier.spec.round(state.x).requires_grad_()
        logits = classifier(seen)
        confident = found.record(rows, seen.detach(), logits.detach())
        still = ~found.closed[rows]
        if spent + 2 > passes or not still.any():
            return
        targets = found.targets[rows]
        (slope,) = torch.autograd.grad(logits, seen, uphill(logits.detach(), targets))
        gap = margin(logits.detach(), targets) - odds[rows]
        if not still.all():
            state, rows = state.only(still), rows[still]
            slope, gap, confident = slope[still], gap[still], confident[still]
        state.move(slope.nan_to_num(0, 0, 0) * state.free, gap, confident, spent / passes)


def thin(classifier: Classifier, found: Sparsest, passes: int) -> None:
    """Prune what was found confident but with too many pixels, in found; at most `passes` passes an image."""
    rows = (found.confident & ~found.closed).nonzero().squeeze(1)
    before, targets = found.images[rows], found.targets[rows]
    images = prune(classifier, before, targets, found.threat, passes)
    found.rank[rows] += lit(before) - lit(images)
    found.images[rows] = images
    found.closed[rows] = lit_pixels(images) <= found.threat.k


def prune(classifier: Classifier, images: Tensor, targets: Tensor, threat: ThreatModel, passes: int) -> Tensor:
    """Darken pixels of confident images, those that the slope says matter least first, while p holds.

    Half of an image's pixels are tried at once, then fewer whenever that was too many and more whenever it was
    not, until no single one can go of those that were left when it was tried.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        images: [N, C, H, W] in [0, 1].
        targets: [N] real classes.
        threat: p, which is kept, and k, with which an image is sparse enough to stop.
        passes: per image, never exceeded; a trial costs one, and two more where it succeeds.

    Returns:
        [N, C, H, W] on the value grid; an image that is not confident comes back rounded and else as it was.
    """
    images, targets = classifier.spec.round(images), targets.to(classifier.device)
    if passes < 3 or not len(images):
        return images
    dense = ThreatModel(threat.p, classifier.spec.pixels)
    spent = torch.full((len(images),), 2, device=images.device)
    cost, confident = worth(classifier, images, targets, dense)
    cost[~confident] = math.inf
    chunk = lit_pixels(images) // 2
    while True:
        choices = torch.isfinite(cost).sum(dim=1)
        chunk = torch.minimum(chunk, choices).clamp(min=1)
        rows = ((choices > 0) & (spent + 1 <= passes) & (lit_pixels(images) > threat.k)).nonzero().squeeze(1)
        if not len(rows):
            return images
        gone = cost[rows].argsort(dim=1).argsort(dim=1) < chunk[rows, None]
        trial = images[rows] * ~gone.view(len(rows), 1, *images.shape[2:])
        with torch.no_grad():
            held = reached(classifier(trial), trial, targets[rows], dense)
        spent[rows] += 1
        single = chunk[rows] == 1
        cost[rows] = cost[rows].masked_fill(gone & (held | single)[:, None], math.inf)  # darkened, or needed
        chunk[rows] = torch.where(held, 2 * chunk[rows], chunk[rows] // 2)
        images[rows[held]] = trial[held]
        again = rows[held & (spent[rows] + 2 <= passes)]
        if len(again):
            fresh, _ = worth(classifier, images[again], targets[again], dense)
            cost[again] = torch.where(torch.isfinite(cost[again]), fresh, math.inf)
            spent[again] += 2


def worth(classifier, images, targets, dense) -> tuple[Tensor, Tensor]:
    """What darkening each pixel would cost in margin, to first order, [n, P], and which images are confident [n].

    A pixel that is dark already costs infinitely much. Two passes an image.
    """
    seen = images.clone().requires_grad_()
    logits = classifier(seen)
    (slope,) = torch.autograd.grad(logits, seen, uphill(logits.detach(), targets))
    cost = (slope.nan_to_num(0, 0, 0) * images).sum(dim=1).flatten(1)
    dark = ~(images != 0).any(dim=1).flatten(1)
    return cost.masked_fill(dark, math.inf), reached(logits.detach(), images, targets, dense)
