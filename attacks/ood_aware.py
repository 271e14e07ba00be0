"""`l1_sparse` that won't settle for a digit: what reaches p is walked on until the judge rejects it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.l1_sparse import RUN, Climber, climb
from attacks.search import Best, noise, per_target, sparse_noise, uniform
from bench.types import Budget, Classifier, Judge, ThreatModel
from bench.verify import reached

WALK = 200  # passes of one walk, all forward
MOVED = 3  # lit pixels that one proposal moves, at most


def ood_aware(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
    judge: Judge,
) -> Tensor:
    """Climb to p, then move lit pixels at random wherever p still holds and the judge's score rises.

    An image the judge rejects at its strict threshold closes its target; any other starts again from new noise.
    The walk is the (1+1) evolution strategy of Brendel et al.'s boundary attack,
    https://arxiv.org/abs/1712.04248, on the judge's score; the climb is `l1_sparse`.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: what every image handed back keeps, once it is reached; at most `threat.k` pixels are lit.
        budget: passes per image; a step of the climb costs two, one of the walk one.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], where the first run starts instead of noise.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.
        judge: whose rejection is wanted.

    Returns:
        [N, C, H, W] on the value grid: of the images that reached p the one the judge finds least real, else the
        likeliest image seen.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    images = torch.zeros(len(targets), *classifier.spec.shape, device=classifier.device)
    rank = torch.full((len(targets),), -math.inf, dtype=torch.float64)
    targets = targets.to(classifier.device)
    free = per_target(mask, images)
    left, draw = budget.passes, noise
    while left > 0 and len(rows := (rank <= judge.strict).nonzero().squeeze(1)):
        found = Best(classifier, targets[rows], threat)
        first = draw(len(rows), classifier, generator) if start is None else start.to(images)[rows]
        state = Climber.at(torch.arange(len(rows), device=classifier.device), first, free[rows], generator)
        climb(classifier, found, state, min(left, 2 * RUN))
        left -= 2 * RUN
        there = torch.isinf(found.rank) & (found.rank > 0)
        value = torch.where(there, 0.0, found.rank).cpu().double() - UNREACHED
        value[there.cpu()] = walk(classifier, found, there, free[rows], judge, min(left, WALK), generator)
        left -= WALK
        better = value > rank[rows]
        rank[rows[better]], images[rows[better]] = value[better], found.images[better.to(images.device)]
        draw, start = sparse_noise, None
    return images


UNREACHED = 1e6  # below any judge's score: what never reached p ranks by its probability


def walk(
    classifier: Classifier,
    found: Best,
    which: Tensor,
    free: Tensor,
    judge: Judge,
    passes: int,
    generator: torch.Generator,
) -> Tensor:
    """Move pixels of the images that reached p, in found, while p holds -> the judge's scores [n] float64."""
    rows = which.nonzero().squeeze(1)
    score = judge.score(found.images[rows]).double().cpu()
    for _ in range(passes):
        still = (score <= judge.strict).nonzero().squeeze(1)
        if not len(still):
            break
        at = rows[still.to(rows.device)]
        trial = classifier.spec.round(moved(found.images[at], free[at], generator))
        with torch.no_grad():
            held = reached(classifier(trial), trial, found.targets[at], found.threat).nonzero().squeeze(1)
        if not len(held):
            continue
        fresh = judge.score(trial[held]).double().cpu()
        up = fresh > score[still[held.cpu()]]
        score[still[held.cpu()][up]] = fresh[up]
        found.images[at[held][up.to(at.device)]] = trial[held][up.to(at.device)]
    return score


def moved(images: Tensor, free: Tensor, generator: torch.Generator) -> Tensor:
    """Put out a few lit pixels of each image and light as many others, at random values; [n, C, H, W]."""
    n, channels = images.shape[:2]
    flat = images.flatten(2)
    lit = (flat != 0).any(dim=1)
    count = 1 + (uniform((n, 1), generator, images.device) * MOVED).long()
    order = uniform(lit.shape, generator, images.device)
    out = lit & (torch.where(lit, order, 2).argsort(dim=1).argsort(dim=1) < count)
    dark = ~lit & (free.expand_as(images).flatten(2) != 0).any(dim=1)
    into = dark & (torch.where(dark, order, 2).argsort(dim=1).argsort(dim=1) < out.sum(dim=1, keepdim=True))
    values = uniform((n, channels, lit.shape[1]), generator, images.device) * free.expand_as(images).flatten(2)
    return torch.where(into[:, None], values, flat * ~out[:, None]).view_as(images)
