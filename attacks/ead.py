"""EAD: elastic-net descent, the constant before the loss bisected for each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.prune import Sparsest, Walker, first_points, minimise
from attacks.search import shrink
from bench.types import Budget, Classifier, ThreatModel

RUN = 2000  # passes of one run
SEARCHES = 9  # values of c that an image tries in one run
STEP = 0.1  # the first step length of a search; it falls to 0 as a root
BETA, SQUARE = 1.0, 0.1  # weights of the sum of brightness and of the sum of squares
FIRST_C = 1.0
DELAY = 0.03  # the share of a search after which momentum is a half


def ead(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Minimise c * max(0, -f) + beta * |x|_1 + a little |x|_2^2, f = z_t - logsumexp(z_other) - log(p / (1 - p)).

    By proximal gradient steps with momentum, whose extrapolated point is the one looked at. Every image has a c
    of its own: ten times as much while nothing was confident, then bisected between what failed and what did
    not, each search from where the first began. Its clean image is the blank one; |x|_1 sums pixels' brightness. The
    slope is taken at the rounded image. What a run ends with is pruned.

    Chen et al., EAD, https://arxiv.org/abs/1709.04114; there, beta is 0.01 of the squares, which leaves more pixels.

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
        confident one, else the likeliest of at most k. On a linear classifier it reaches p with at most 1.5
        times the fewest pixels that can, within 2,000 passes.

    Raises:
        RuntimeError: shapes that do not fit, a classifier that passes no gradient.
    """
    best = Sparsest(classifier, targets, threat)

    def begin(rows: Tensor, run: int) -> Ead:
        x, free = first_points(classifier, rows, run, generator, start, mask)
        low = torch.zeros(len(rows), device=x.device)
        return Ead(x, free, x.clone(), x.clone(), low + FIRST_C, low, low + torch.inf, low > 0, 0)

    return minimise(best, classifier, begin, budget.passes, RUN)


@dataclass
class Ead(Walker):
    """The search of every image.

    Args:
        first: [n, C, H, W], where every search starts.
        point: [n, C, H, W], the last proximal point; `x` is extrapolated from it.
        c, low, high: [n], the constant, the largest that failed and the smallest that did not.
        won: [n] bool, whether any image of this search was confident.
        search: its number.
    """

    first: Tensor
    point: Tensor
    c: Tensor
    low: Tensor
    high: Tensor
    won: Tensor
    search: int

    def move(self, slope: Tensor, gap: Tensor, confident: Tensor, done: float) -> None:
        self.won = self.won | confident
        search, within = divmod(done * SEARCHES, 1)
        if search > self.search:
            self.next_search()
            return
        c, step = self.c.view(-1, 1, 1, 1), STEP * (1 - within) ** 0.5
        pull = c * torch.where(gap.view_as(c) < 0, slope, 0) - 2 * SQUARE * self.x
        point = shrink(self.x + step * pull, torch.full_like(c, step * BETA)).clamp_(max=1) * self.free
        momentum = within / (within + DELAY)
        self.x = (point + momentum * (point - self.point)).clamp_(0, 1)
        self.point = point

    def next_search(self) -> None:
        """Another c for every image, from the first point."""
        self.high = torch.where(self.won, torch.minimum(self.high, self.c), self.high)
        self.low = torch.where(self.won, self.low, torch.maximum(self.low, self.c))
        self.c = torch.where(torch.isfinite(self.high), (self.low + self.high) / 2, 10 * self.c)
        self.x, self.point = self.first.clone(), self.first.clone()
        self.won = torch.zeros_like(self.won)
        self.search += 1
