"""What attacks share: starts, the look that is tested, the best image so far, the images still open."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.types import Classifier, ThreatModel
from bench.verify import reached, target_probability

FEW = 32  # pixels to choose from an image that must be exactly the brightest
SORTABLE = 10_000  # pixels to choose, over all images, that are sorted out faster than bisected
BISECTIONS = 7


class Best:
    """The best rounded image seen of every target, and which targets are still open.

    An image with at most k lit pixels ranks by its target's probability, any other below all of them, by how
    many pixels it has too many. What `reached` accepts ranks highest and closes its target.

    Args:
        classifier: the network under attack.
        targets: [N] real classes.
        threat: when an image counts as confident and as sparse.
    """

    def __init__(self, classifier: Classifier, targets: Tensor, threat: ThreatModel):
        self.threat = threat
        self.targets = targets.to(classifier.device)
        self.p = threat.p_of(self.targets)
        self.images = torch.zeros(len(targets), *classifier.spec.shape, device=classifier.device)
        self.rank = torch.full((len(targets),), -math.inf, device=classifier.device)

    @property
    def open(self) -> Tensor:
        """Indices of the targets not yet reached -> [n]."""
        return (self.rank < math.inf).nonzero().squeeze(1)

    def record(self, rows: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        """Keep what is better than before.

        Args:
            rows: [n] which target each image is for, none twice.
            images: [n, C, H, W] on the value grid.
            logits: [n, K + F] of exactly these images.

        Returns:
            [n] bool, which of these targets are still open.
        """
        targets, before = self.targets.index_select(0, rows), self.rank.index_select(0, rows)
        rank = ranks(logits, images, targets, self.threat)
        promising = (rank >= self.p.index_select(0, rows)).nonzero().squeeze(1)
        if len(promising):
            likely = images.index_select(0, promising)
            confirmed = reached(logits[promising], likely, targets[promising], self.threat)
            rank[promising[confirmed]] = math.inf
        better = (rank > before).nonzero().squeeze(1)  # NaN is never better
        if len(better) < len(rows):
            new_rows, new_rank, new_images = (t.index_select(0, better) for t in (rows, rank, images))
        else:
            new_rows, new_rank, new_images = rows, rank, images
        self.rank.index_copy_(0, new_rows, new_rank)
        self.images.index_copy_(0, new_rows, new_images)
        return (rank < math.inf) & (before < math.inf)


def ranks(logits: Tensor, images: Tensor, targets: Tensor, threat: ThreatModel) -> Tensor:
    """The target's probability where an image has at most k lit pixels, else minus the pixels too many -> [n]."""
    excess = lit(images) - threat.k
    return torch.where(excess > 0, -excess, target_probability(logits, targets))


def uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1), drawn on the CPU so that every device sees the same ones."""
    return torch.rand(shape, generator=generator).to(device)


def noise(count: int, classifier: Classifier, generator: torch.Generator) -> Tensor:
    """Uniform noise -> [count, C, H, W]."""
    return uniform((count, *classifier.spec.shape), generator, classifier.device)


def sparse_noise(count: int, classifier: Classifier, generator: torch.Generator) -> Tensor:
    """Noise whose density and brightness are drawn anew for every image -> [count, C, H, W]."""
    _, height, width = classifier.spec.shape
    density, brightness = uniform((2, count, 1, 1, 1), generator, classifier.device)
    lit = uniform((count, 1, height, width), generator, classifier.device) < density
    return noise(count, classifier, generator) * lit * brightness


def per_target(mask: Tensor | None, images: Tensor) -> Tensor:
    """A mask [N or 1, C or 1, H, W], or none, as one [N, C, H, W] like the images, without copying it."""
    free = torch.ones(1, 1, 1, 1) if mask is None else mask
    return free.to(images).expand_as(images)


def brightness(images: Tensor) -> Tensor:
    """How bright each pixel is, over its channels: [n, C, H, W] >= 0 -> [n, 1, H, W]."""
    return images if images.shape[1] == 1 else images.norm(dim=1, keepdim=True)


def lit(images: Tensor) -> Tensor:
    """Lit pixels of images [n, C, H, W] >= 0 -> [n] float; `bench.types.lit_pixels` without its detour by bool."""
    return brightness(images).sign().flatten(1).sum(dim=1)


def brightest(order: Tensor, k: int) -> Tensor:
    """1 where a pixel is among the k brightest of its image, else 0: [n, 1, H, W] -> the same.

    Sorting out many pixels of many images takes longer than a pass through a small network; bisecting for the
    k-th brightness does not, and finds all but the few pixels that lie within a hundredth of it.
    """
    flat = order.flatten(1)
    if k >= flat.shape[1]:
        return torch.ones_like(order)
    if k <= FEW or len(flat) * k <= SORTABLE:
        return sorted_out(flat, k).view_as(order)
    top, above = flat.amax(dim=1, keepdim=True), torch.empty_like(flat)
    low = torch.zeros_like(top)
    for halvings in range(1, BISECTIONS + 1):
        middle = low.add(top, alpha=0.5**halvings)
        crowded = torch.gt(flat, middle, out=above).sum(dim=1, keepdim=True) > k
        low = torch.where(crowded, middle, low)
    torch.gt(flat, low.add(top, alpha=0.5**BISECTIONS), out=above)
    tied = ((low.squeeze(1) > 0) & (above.sum(dim=1) < k / 2)).nonzero().squeeze(1)
    if len(tied):
        above[tied] = sorted_out(flat[tied], k)
    return above.view_as(order)


def sorted_out(flat: Tensor, k: int) -> Tensor:
    """1 at the k largest of each row, else 0: [n, P] -> the same."""
    return torch.zeros_like(flat).scatter_(1, flat.topk(k, dim=1, sorted=False).indices, 1)


def shrink(images: Tensor, amount: Tensor) -> Tensor:
    """The proximal step of amount * (sum of the pixels' brightness), in place; pixels stay at least 0.

    Args:
        images: [n, C, H, W], negative values allowed.
        amount: [n, 1, 1, 1].
    """
    if images.shape[1] == 1:
        return images.sub_(amount).clamp_(min=0)
    images.clamp_(min=0)
    return images.mul_((1 - amount / brightness(images).clamp_min(1e-12)).clamp_(min=0))


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """z_t - logsumexp(z_other), the logit of the target's probability; not a number counts as -inf -> [n]."""
    column = targets[:, None]
    others = logits.scatter(1, column, -math.inf).logsumexp(dim=1)
    return (logits.gather(1, column).squeeze(1) - others).nan_to_num_(-math.inf, math.inf, -math.inf)


def uphill(logits: Tensor, targets: Tensor) -> Tensor:
    """The derivative of `margin` by the logits -> [n, K + F]."""
    column = targets[:, None]
    others = logits.scatter(1, column, -math.inf).softmax(dim=1)
    return others.neg_().scatter_(1, column, 1)
