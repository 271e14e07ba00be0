"""MAP-Elites: an archive of the best image of every niche, bred for one class and welcome in another's niche."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.search import Best, brightest, brightness, per_target, sorted_out, sparse_noise, uniform
from bench.types import Budget, Classifier, ThreatModel

OWN = 0.6  # how often a niche breeds from its own elite, not from that of any niche
MATE = 0.15  # how often a child takes part of its pixels from a second elite
CHANGES = 0.2  # at most so many pixels, as a share of k, are expected to change beside the one that always does
VANISH = 0.3  # how often about one lit pixel vanishes
BRIGHT = 0.5  # how often a new colour is full; otherwise any brightness


def map_elites(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Breed images from an archive shared by the batch, using nothing but logits. A black box.

    A niche belongs to a real class: one for every target, and one more for every class, asked for or not, as a
    stepping stone. Each generation breeds one child for every open target, from its own elite or any other; genes
    are lit pixels, which appear, vanish, move and change their brightness. A child takes its own niche if it is
    no less likely there, and the best child of a generation for each class takes that class's weakest niche. What
    reached p leaves the archive with its target, so that targets of one class don't end as copies of one image.
    From sparse noise.

    Nguyen, Yosinski, Clune, https://arxiv.org/abs/1412.1897; MAP-Elites: Mouret & Clune,
    https://arxiv.org/abs/1504.04909.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F]; no gradient is asked for.
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a generation costs one for every open target, forward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], the first children; their k brightest pixels count.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier of up to 64 pixels it reaches p with at most 1.5 times the fewest that can, within 4,000 passes.

    Raises:
        RuntimeError: shapes that do not fit.
    """
    best = Best(classifier, targets, threat)
    free = per_target(mask, best.images)
    archive = Archive.empty(classifier, best, free)
    children = sparse_noise(len(targets), classifier, generator) if start is None else start.to(best.images)
    for _ in range(budget.passes):
        if not len(rows := best.open):
            break
        children = children * free[rows]
        children = classifier.spec.round(children * brightest(brightness(children), threat.k))
        with torch.no_grad():
            logits = classifier(children)
        archive.settle(best, rows, children, logits)
        children = archive.breed(best.open, threat.k, generator)
    return best.images


@dataclass
class Archive:
    """Niches, those of the N targets first, then one for each of the K real classes.

    Args:
        elites: [N + K, C, H, W].
        fitness: [N + K] margins of the elites for the niche's class, -inf where there is none yet.
        niche_class: [N + K].
        free: [N, C, H, W], the pixels that a target's niche may light; a stepping stone may light any.
        count: N.
    """

    elites: Tensor
    fitness: Tensor
    niche_class: Tensor
    free: Tensor
    count: int

    @classmethod
    def empty(cls, classifier: Classifier, best: Best, free: Tensor) -> Archive:
        classes = torch.arange(classifier.spec.real_classes, device=best.targets.device)
        niche_class = torch.cat([best.targets, classes])
        elites = torch.zeros(len(niche_class), *classifier.spec.shape, device=best.images.device)
        fitness = torch.full((len(niche_class),), -math.inf, device=best.images.device)
        return cls(elites, fitness, niche_class, free, len(best.targets))

    def settle(self, best: Best, rows: Tensor, children: Tensor, logits: Tensor) -> None:
        """Children [n, C, H, W], one for each of the rows [n], take the niches they are best for."""
        margins = all_margins(logits, len(self.fitness) - self.count)
        own = margins.gather(1, best.targets[rows, None]).squeeze(1)
        self.place(rows, children, own)
        best.record(rows, children, logits)
        foreign = margins.scatter(1, best.targets[rows, None], -math.inf)
        value, child = foreign.max(dim=0)
        niche = self.weakest(best)
        takes = (value > self.fitness[niche]) & self.fits(niche, children[child])
        niche, child, value = niche[takes], child[takes], value[takes]
        self.place(niche, children[child], value)
        asked = niche < self.count
        best.record(niche[asked], children[child[asked]], logits[child[asked]])
        # A stepping stone that reached p would breed copies of itself.
        stones = self.fitness[self.count :]
        p = best.threat.p_of(self.niche_class[self.count :])
        stones.masked_fill_(stones.sigmoid() >= p, -math.inf)

    def weakest(self, best: Best) -> Tensor:
        """The niche of least fitness of every class, among those of open targets and the stepping stones -> [K]."""
        candidates = torch.cat([best.open, torch.arange(self.count, len(self.fitness), device=best.images.device)])
        stones = candidates[len(best.open) :]
        same = self.niche_class[candidates][None] == self.niche_class[stones][:, None]
        value = self.fitness[candidates].clamp(min=-1e30).expand_as(same).masked_fill(~same, math.inf)
        return candidates[value.argmin(dim=1)]

    def fits(self, niches: Tensor, images: Tensor) -> Tensor:
        """Whether each of the images [m, C, H, W] keeps to its niche's mask -> [m] bool."""
        targets = niches.clamp(max=self.count - 1)
        return (niches >= self.count) | ((images * (1 - self.free[targets])) == 0).flatten(1).all(dim=1)

    def place(self, niches: Tensor, images: Tensor, fitness: Tensor) -> None:
        takes = fitness >= self.fitness[niches]
        self.elites[niches[takes]], self.fitness[niches[takes]] = images[takes], fitness[takes]

    def breed(self, rows: Tensor, k: int, generator: torch.Generator) -> Tensor:
        """A child for each of the rows [n] -> [n, C, H, W], from parents that are open targets' or stones."""
        n, device = len(rows), self.elites.device
        filled = (self.fitness[self.count :] > -math.inf).nonzero().squeeze(1) + self.count
        pool = torch.cat([rows, filled])

        def draw(*shape: int) -> Tensor:
            return uniform((n, *shape), generator, device)

        def anyone() -> Tensor:
            return self.elites[pool[(draw() * len(pool)).long()]]

        own = (draw() < OWN)[:, None, None, None]
        child = torch.where(own, self.elites[rows], anyone())
        mated = (draw() < MATE)[:, None, None, None] & (draw(1, *child.shape[2:]) < 0.5)
        return mutate(torch.where(mated, anyone(), child), self.free[rows], k, draw)


def all_margins(logits: Tensor, classes: int) -> Tensor:
    """The margin of every real class: logits [n, K + F] -> [n, K]; not a number counts as -inf."""
    count = logits.shape[1]
    others = logits[:, None].masked_fill(torch.eye(count, dtype=torch.bool, device=logits.device)[:classes], -math.inf)
    return (logits[:, :classes] - others.logsumexp(dim=2)).nan_to_num(-math.inf, math.inf, -math.inf)


def mutate(images: Tensor, free: Tensor, k: int, draw: Callable[..., Tensor]) -> Tensor:
    """A few pixels get new colours, one may vanish; beyond k, chance decides which old ones give way."""
    _, channels, height, width = images.shape
    lit = brightness(images) > 0
    chance = draw(1, height, width) * free.amax(dim=1, keepdim=True)
    rate = draw(1, 1, 1) ** 3 * CHANGES * k / (height * width)
    changed = (chance > 1 - rate) | (chance == chance.amax(dim=(2, 3), keepdim=True))
    colours = torch.where(draw(channels, height, width) < BRIGHT, 1.0, draw(channels, height, width))
    vanishing = (draw(1, height, width) * lit.sum(dim=(2, 3), keepdim=True) < 1) & (draw(1, 1, 1) < VANISH)
    child = torch.where(changed, colours, images * ~vanishing)
    order = (1 + draw(1, height, width) + changed) * (brightness(child) > 0)
    return child * sorted_out(order.flatten(1), min(k, height * width)).view_as(order)
