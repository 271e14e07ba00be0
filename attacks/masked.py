"""`l1_sparse` through random masks: every run may light only a random part of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.l1_sparse import RUN, Climber, climb
from attacks.search import Best, noise, per_target, uniform
from bench.types import Budget, Classifier, ThreatModel

DENSITY = (0.3, 0.9)  # the range of the share of pixels a mask leaves free


def masked(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """`l1_sparse` whose every run, of every image, sees a new random mask of random density.

    The masks keep it off the pixels that the steepest way up would take, so it finds other images than
    `l1_sparse` does. Random supports: Croce et al., Sparse-RS, https://arxiv.org/abs/2006.12834.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a step costs two, one forward and one backward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], where the first run starts; what its mask hides is lost.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0; it holds beside the
            random ones.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier it reaches p with at most 1.5 times the fewest pixels that can, within 4,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Best(classifier, targets, threat)
    left = budget.passes
    while left > 0 and len(rows := best.open):
        free = per_target(mask, best.images)[rows] * random_mask(len(rows), classifier, generator)
        first = noise(len(rows), classifier, generator) if start is None else start.to(free)[rows]
        climb(classifier, best, Climber.at(rows, first, free, generator), min(left, 2 * RUN))
        left -= 2 * RUN
        start = None
    return best.images


def random_mask(count: int, classifier: Classifier, generator: torch.Generator) -> Tensor:
    """Free pixels strewn evenly, at a density drawn for every image -> [count, 1, H, W] bool."""
    _, height, width = classifier.spec.shape
    low, high = DENSITY
    density = low + (high - low) * uniform((count, 1, 1, 1), generator, classifier.device)
    return uniform((count, 1, height, width), generator, classifier.device) < density
