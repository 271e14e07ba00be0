"""A black box: differential evolution of which few pixels are lit, as rows, columns and values."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.population import PATIENCE, Population, fresh
from attacks.search import Best, margin, per_target, uniform
from attacks.triples import colours, settle, show, within
from bench.types import Budget, Classifier, ThreatModel

POPULATION = 20
SCALES = (0.05, 0.5)  # the range of F, the weight of a difference
ANEW = 0.3  # how often a triple is drawn anew, not moved by a difference: keeps a population from closing in
TARGETS = 128  # evolved together; bounds the memory
CHUNK = 250  # images in one forward pass on a CPU, so that what a small network makes of them fits its cache


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
    """Evolve a population of images for every target, using nothing but logits. A black box.

    At every k, a candidate is up to k triples: row, column and value, one value per channel; all else is blank. A
    trial is the best candidate with one triple changed (best/1, and binomial crossover at CR = 0, which keeps one
    part of the mutant): it moves by F times the difference of two triples, of any two members, or it is drawn anew;
    half the time, while there are fewer than k, the changed triple joins the old one. Two triples never share a
    pixel if another is vacant. The order of triples means nothing, so differences are taken across the order. A
    trial takes its parent's place unless it is worse. F is drawn for every trial. Fitness is z_t - logsumexp(z_other).
    From sparse noise: at most 25 pixels of random corner colours, grey ones white. A population that is stuck
    starts anew, and draws how many pixels, and how bright.

    Storn & Price, https://doi.org/10.1023/A:1008202821328; triples for genes: Su et al., one pixel attack,
    https://arxiv.org/abs/1710.08864.

    Args:
        classifier: images [n, C, H, W] in [0, 1] to logits [n, K + F]; no gradient is asked for.
        targets: [N] real classes.
        threat: when to stop; at most `threat.k` pixels are ever lit.
        budget: passes per image; a generation costs POPULATION, all forward.
        generator: a CPU generator; all randomness comes from it.
        start: [N, C, H, W] in [0, 1], one of the first population; its k brightest pixels count.
        mask: [N or 1, C or 1, H, W], 1 where a pixel is free, 0 where it is held at 0.

    Returns:
        [N, C, H, W] on the value grid; the likeliest image seen, where the target was not reached. On a linear
        classifier it reaches p with at most 1.75 times the fewest pixels that can, within 4,000 passes.

    Raises:
        RuntimeError: shapes that do not fit.
    """
    best = Best(classifier, targets, threat)
    free = per_target(mask, best.images)
    for rows in torch.arange(len(targets), device=classifier.device).split(TARGETS):
        size = min(POPULATION, budget.passes)
        everyone = fresh(rows, free[rows], threat.k, size, generator)
        if start is not None:
            everyone.put(start.to(free)[rows] * free[rows])
        evolve(classifier, best, everyone, budget.passes, generator)
    return best.images


def evolve(classifier, best, everyone, passes, generator) -> None:
    """Generations until all targets are reached or the next one would exceed the passes."""
    size = everyone.genes.shape[1]
    everyone.fitness, still = evaluate(classifier, best, everyone)
    for _ in range(size, passes - size + 1, size):
        if not still.any():
            return
        everyone = everyone.only(still)
        trial = offspring(everyone, generator)
        trial.fitness, still = evaluate(classifier, best, trial)
        everyone.select(trial)


def evaluate(classifier, best, population) -> tuple[Tensor, Tensor]:
    """Fitness [n, P], the best of each target recorded, and which are still open [n]."""
    n, size = population.fitness.shape
    images = classifier.spec.round(show(population.genes, population.free).flatten(0, 1))
    with torch.no_grad():
        logits = torch.cat([classifier(chunk) for chunk in images.split(CHUNK if images.is_cpu else len(images))])
    fitness = margin(logits, best.targets[population.rows].repeat_interleave(size)).view(n, size)
    fittest = torch.arange(n, device=images.device) * size + fitness.argmax(dim=1)
    return fitness, best.record(population.rows, images[fittest], logits[fittest])


def offspring(parents: Population, generator: torch.Generator) -> Population:
    """One trial for every candidate, as yet without its fitness; new noise for a stale population."""
    rows, free, k, size = parents.rows, parents.free, parents.genes.shape[2], parents.genes.shape[1]
    top = parents.fitness.argmax(dim=1, keepdim=True)
    genes = parents.genes.gather(1, top[..., None, None].expand(-1, 1, *parents.genes.shape[2:]))
    count = parents.count.gather(1, top)
    place, old, mutant, anew = mutate(parents, top, generator)
    chance, which = uniform((2, *parents.count.shape), generator, free.device)
    joins = (chance < 0.5) & (count < k)
    settle(mutant, torch.where(joins[..., None], -1, old), anew, show(genes, free), free, which)
    place = torch.where(joins, count, place)[..., None, None].expand_as(mutant[:, :, None])
    genes = genes.repeat(1, size, 1, 1).scatter_(2, place, mutant[:, :, None])
    trial = Population(rows, free, genes, count + joins, parents.bright.clone(), parents.fitness, parents.stale)
    if len(stuck := (parents.stale >= PATIENCE).nonzero().squeeze(1)):
        trial.replace(stuck, fresh(rows[stuck], free[stuck], k, size, generator, later=True))
    return trial


def mutate(parents: Population, top: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One triple of the best, whose index top [n, 1] gives, mutated for every candidate.

    Returns:
        its place [n, P], itself [n, P, 2 + C], its mutant [n, P, 2 + C], and which are drawn anew [n, P].
    """
    shape, device = parents.count.shape, parents.count.device
    populations = torch.arange(len(top), device=device)[:, None]

    def draw(*more: int) -> Tensor:
        return uniform((*shape, *more), generator, device)

    def places(member: Tensor) -> Tensor:
        return (draw() * parents.count[populations, member]).long()

    first, second = draw(shape[1]).topk(2, dim=2).indices.unbind(2)
    place = places(top)
    old = parents.genes[populations, top, place]
    difference = parents.genes[populations, first, places(first)] - parents.genes[populations, second, places(second)]
    low, high = SCALES
    mutant = within(old + (low + (high - low) * draw(1)) * difference, old)
    anew = draw() < ANEW
    values = colours(draw(old.shape[2] - 2)) * parents.bright[:, None, None]
    mutant[..., 2:] = torch.where(anew[..., None], values, mutant[..., 2:])
    return place, old, mutant, anew
