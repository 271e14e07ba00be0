"""Populations of sparse images, one for every target, as differential evolution breeds them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.search import brightness, lit, uniform
from attacks.triples import colours, positions

FIRST = 25  # triples that a first population lights, at most; more of them come in where that helps
FEWEST = 10  # triples that a later one lights, at least, or k
DIMMEST = 0.1  # of a later one's values
PATIENCE = 30  # generations without a better best, after which a population starts anew


@dataclass
class Population:
    """The candidates of the targets still open.

    Args:
        rows: [n] which target each population is for.
        free: [n, C, H, W], its mask.
        genes: [n, P, k, 2 + C] in [0, 1]: row, column, values; a triple of value 0 shows nothing.
        count: [n, P] how many triples, the first ones, are in use.
        bright: [n] the largest value a new triple gets.
        fitness: [n, P].
        stale: [n] generations since the best got better.
    """

    rows: Tensor
    free: Tensor
    genes: Tensor
    count: Tensor
    bright: Tensor
    fitness: Tensor
    stale: Tensor

    def only(self, which: Tensor) -> Population:
        return self if which.all() else Population(**{name: field[which] for name, field in vars(self).items()})

    def put(self, images: Tensor) -> None:
        """The brightest pixels of images [n, C, H, W] become the first candidates."""
        pixels = brightness(images).flatten(1).topk(self.genes.shape[2], dim=1).indices
        values = images.flatten(2).gather(2, pixels[:, None].expand(-1, images.shape[1], -1))
        self.genes[:, 0] = torch.cat([positions(pixels, *images.shape[2:]), values.transpose(1, 2)], dim=2)
        self.count[:, 0] = lit(images).long().clamp(1, self.genes.shape[2])

    def replace(self, which: Tensor, others: Population) -> None:
        """Other genes, counts and brightness where which [m] says, in place."""
        for name in ("genes", "count", "bright"):
            getattr(self, name)[which] = getattr(others, name)

    def select(self, trial: Population) -> None:
        """Every candidate gives way to its trial unless that is worse; a stale population gives way whole."""
        stuck = self.stale >= PATIENCE
        better = (trial.fitness >= self.fitness) | stuck[:, None]
        improved = trial.fitness.amax(dim=1) > self.fitness.amax(dim=1)
        self.stale = torch.where(improved | stuck, 0, self.stale + 1)
        self.bright = trial.bright
        self.genes = torch.where(better[:, :, None, None], trial.genes, self.genes)
        self.count = torch.where(better, trial.count, self.count)
        self.fitness = torch.where(better, trial.fitness, self.fitness)


def fresh(rows, free, k, size, generator, *, later: bool = False) -> Population:
    """Populations of random triples, no two of a candidate on one pixel, and as yet without fitness."""
    n, channels, height, width = free.shape
    k = min(k, height * width)

    def draw(*shape: int) -> Tensor:
        return uniform((n, *shape), generator, free.device)

    order = draw(size, height * width) + free.amax(dim=1).flatten(1)[:, None]
    bright = torch.ones(n, device=free.device)
    count = torch.full((n, size), min(k, FIRST), device=free.device)
    if later:
        few = min(k, FEWEST)
        count = (few * (k / few) ** draw(1)).round().long().expand(n, size)
        bright = torch.where(draw() < 0.5, bright, DIMMEST + (1 - DIMMEST) * draw())
    genes = torch.cat([positions(order.topk(k, dim=2).indices, height, width), colours(draw(size, k, channels))], dim=3)
    used = torch.arange(k, device=free.device) < count[:, :, None]
    genes[..., 2:] *= bright[:, None, None, None] * used[..., None]
    return Population(rows, free, genes, count, bright, torch.zeros_like(order[:, :, 0]), torch.zeros_like(rows))
