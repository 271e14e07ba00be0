"""From a given image onward: what fooled another network, or a real image, made to fool this one."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.l1_sparse import l1_sparse
from attacks.search import Best, per_target
from attacks.sparse_pgd import sparse_pgd_unprojected
from bench.types import Attack, Budget, Classifier, ThreatModel

WAYS: tuple[Attack, ...] = (sparse_pgd_unprojected, l1_sparse)


def onward(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """A look at the start, Sparse-PGD from there, then, where it found nothing, the L1-penalised attack from there.

    Two attacks of the suites are this function. `transfer` starts from survivors: what fooled network B, and what
    past rounds found; an image that fools as it is costs one pass. `from_real` starts from real images of another
    class.

    Transferability: Papernot et al., https://arxiv.org/abs/1605.07277; the ways on, see `sparse_pgd_unprojected` and
    `l1_sparse`.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F].
        targets: [N] real classes.
        threat: when to stop.
        budget: passes per image; each way has half of them, less one to look at what it made.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1]; without one, each way starts as it does by itself.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier it reaches p with at most 1.2 times the fewest pixels that can, within 4,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Best(classifier, targets, threat)
    left = budget.passes
    if start is not None:
        look(classifier, best, best.open, start.to(classifier.device) * per_target(mask, best.images))
        left -= 1
    for number, way in enumerate(WAYS):
        rows, share = best.open, left // (len(WAYS) - number) - 1  # one pass looks at the result
        share -= share % 2 == 0  # a look, then two passes a step: an even share would leave one over
        if share < 1 or not len(rows):
            continue
        left -= share + 1
        images = way(
            classifier,
            best.targets[rows],
            threat=threat,
            budget=Budget(share),
            generator=generator,
            start=None if start is None else start.to(classifier.device)[rows],
            mask=None if mask is None else per_target(mask, best.images)[rows],
        )
        look(classifier, best, rows, images)
    return best.images


def look(classifier: Classifier, best: Best, rows: Tensor, images: Tensor) -> None:
    """Record images [n, C, H, W] for the targets rows [n]; one pass each."""
    images = classifier.spec.round(images)
    with torch.no_grad():
        best.record(rows, images, classifier(images))
