"""A black box: differential evolution of whole images, of which the k brightest pixels count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.search import Best, brightest, brightness, margin, per_target, uniform
from bench.types import Budget, Classifier, ThreatModel

POPULATION = 20
SCALES = (0.2, 1.2)  # the range of F, the weight of a difference
REDRAW = 0.1  # how often a candidate draws its F, or its CR, anew
PATIENCE = 15  # generations without a better best, after which a population starts anew
TARGETS = 128  # evolved together; bounds the memory
CHUNK = 1000  # images in one forward pass


def differential_evolution(
    classifier: Classifier,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    generator: torch.Generator,
    start: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Evolve a population of images for every target, using nothing but logits.

    A gene in [-1, 1] stands for each pixel; the image shows the k largest of those above 0. Mutants are best/1
    and current-to-best/1; they cross with their parents in single pixels or in a rectangle, and F and CR are
    inherited with what they led to. Fitness is z_t - logsumexp(z_other).

    Storn & Price, https://doi.org/10.1023/A:1008202821328; on images, Su et al., one pixel attack,
    https://arxiv.org/abs/1710.08864; inherited F and CR: Brest et al., jDE,
    https://doi.org/10.1109/TEVC.2006.872133.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F]; no gradient is asked for.
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a generation costs POPULATION, all forward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], one of the first population.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier of up to 64 pixels it reaches p with at most twice the fewest that can, within 4,000 passes;
        on larger images it needs many more of them, and finds them where a network is easy to fool.

    Raises:
        RuntimeError: shapes that do not fit.
    """
    best = Best(classifier, targets, threat)
    free = per_target(mask, best.images)
    for rows in torch.arange(len(targets), device=classifier.device).split(TARGETS):
        genes = 2 * uniform((len(rows), POPULATION, *classifier.spec.shape), generator, classifier.device) - 1
        if start is not None:
            genes[:, 0] = start.to(genes)[rows]
        evolve(classifier, best, rows, genes[:, : budget.passes], free, budget.passes, generator)
    return best.images


@dataclass
class Population:
    """The candidates of the targets still open.

    Args:
        rows: [n] which target each population is for.
        genes: [n, P, C, H, W] in [-1, 1].
        fitness, scale, crossing: [n, P], the last two being F and CR of each candidate.
        stale: [n] generations since the best got better.
    """

    rows: Tensor
    genes: Tensor
    fitness: Tensor
    scale: Tensor
    crossing: Tensor
    stale: Tensor

    def only(self, which: Tensor) -> Population:
        return Population(**{name: field[which] for name, field in vars(self).items()})

    def select(self, trial: Population) -> None:
        """Every candidate gives way to its trial unless that is worse; a stale population gives way whole."""
        better = (trial.fitness >= self.fitness) | (self.stale >= PATIENCE)[:, None]
        improved = trial.fitness.amax(dim=1) > self.fitness.amax(dim=1)
        self.stale = torch.where(improved | (self.stale >= PATIENCE), 0, self.stale + 1)
        self.genes = torch.where(better[:, :, None, None, None], trial.genes, self.genes)
        for name in ("fitness", "scale", "crossing"):
            setattr(self, name, torch.where(better, getattr(trial, name), getattr(self, name)))


def evolve(classifier, best, rows, genes, free, passes, generator) -> None:
    """Generations until all targets in rows are reached or the next one would exceed the passes."""
    size = genes.shape[1]
    half = torch.full((len(rows), size), 0.5, device=genes.device)
    everyone = Population(rows, genes, half, half, half, torch.zeros_like(rows))
    everyone.fitness, still = evaluate(classifier, best, rows, genes, free)
    for _ in range(size, passes - size + 1, size):
        if not still.any():
            return
        everyone = everyone.only(still)
        trial = offspring(everyone, generator)
        trial.fitness, still = evaluate(classifier, best, trial.rows, trial.genes, free)
        everyone.select(trial)


def evaluate(classifier, best, rows, genes, free) -> tuple[Tensor, Tensor]:
    """Fitness [n, P] of genes [n, P, C, H, W], the best of each target recorded, and which are still open [n]."""
    n, size = genes.shape[:2]
    values = (genes.clamp(min=0) * free[rows, None]).flatten(0, 1)
    images = classifier.spec.round(values) * brightest(brightness(values), best.threat.k)
    with torch.no_grad():
        logits = torch.cat([classifier(chunk) for chunk in images.split(CHUNK)])
    fitness = margin(logits, best.targets[rows].repeat_interleave(size)).view(n, size)
    fittest = torch.arange(n, device=rows.device) * size + fitness.argmax(dim=1)
    return fitness, best.record(rows, images[fittest], logits[fittest])


def offspring(parents: Population, generator: torch.Generator) -> Population:
    """One trial for every candidate, as yet without its fitness; new noise for a stale population."""
    genes, device = parents.genes, parents.genes.device
    n, size, _, height, width = genes.shape

    def draw(*shape: int) -> Tensor:
        return uniform((n, *shape), generator, device)

    low, high = SCALES
    scale = torch.where(draw(size) < REDRAW, low + (high - low) * draw(size), parents.scale)
    crossing = torch.where(draw(size) < REDRAW, draw(size), parents.crossing)
    mutant = mutate(parents, scale, draw(size) < 0.5, draw(size, size).argsort(dim=2))
    pixels = draw(size, height, width) < crossing[:, :, None, None]
    region = rectangles(draw(size, 4), height, width)
    crossed = torch.where((draw(size) < 0.5)[:, :, None, None], pixels, region)[:, :, None]
    trial = torch.where(crossed, mutant, genes)
    stale = (parents.stale >= PATIENCE).nonzero().squeeze(1)
    if len(stale):
        trial[stale] = 2 * uniform((len(stale), *genes.shape[1:]), generator, device) - 1
    return Population(parents.rows, trial, parents.fitness, scale, crossing, parents.stale)


def mutate(parents: Population, scale: Tensor, from_best: Tensor, order: Tensor) -> Tensor:
    """best/1 where from_best [n, P], else current-to-best/1; order [n, P, P] picks whose difference is added."""
    genes = parents.genes
    populations = torch.arange(len(genes), device=genes.device)[:, None]
    best = genes[populations, parents.fitness.argmax(dim=1, keepdim=True)]
    difference = genes[populations, order[:, :, 0]] - genes[populations, order[:, :, 1]]
    weight = scale[:, :, None, None, None]
    toward = torch.where(from_best, 1.0, scale)[:, :, None, None, None]
    mutant = genes + toward * (best - genes) + weight * difference
    # A gene that leaves its range ends halfway between its parent and the edge it crossed, so that few are equal.
    return torch.where(mutant.abs() > 1, (genes + mutant.sign()) / 2, mutant)


def rectangles(corners: Tensor, height: int, width: int) -> Tensor:
    """Numbers [n, P, 4] in [0, 1) -> rectangles of any size and place, as [n, P, H, W] bool."""
    top, bottom = (corners[:, :, :2].sort(dim=2).values * height).unbind(2)
    left, right = (corners[:, :, 2:].sort(dim=2).values * width).unbind(2)
    row = torch.arange(height, device=corners.device)
    column = torch.arange(width, device=corners.device)
    rows = (row >= top[:, :, None].floor()) & (row <= bottom[:, :, None])
    columns = (column >= left[:, :, None].floor()) & (column <= right[:, :, None])
    return rows[:, :, :, None] & columns[:, :, None, :]
