"""Images that keep being attacked while a network learns: what fools it at this step is what it is taught at it.

A round's finds are soon old: the network has moved on, and what fools it now lies beside them. So images from noise and
from all past rounds are visited in turn, carried on by a short attack from where they are, and taught when they reach
their target again, as adversarial training does on every batch (Madry et al., https://arxiv.org/abs/1706.06083); that
they stay from batch to batch is persistent contrastive divergence's idea (Tieleman, https://doi.org/10.1145/1390156.1390290).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from attacks.search import noise, sparse_noise
from bench.harness.generate import balanced_targets
from bench.materials.split import Split
from bench.materials.training import Replay
from bench.meter import Meter
from bench.task import Batch, Task
from bench.types import Attack, Budget, ThreatModel
from bench.verify import logits_of, reached
from defenses.gate import oddities

SIZE = 600
VISITED = 32  # a step
PASSES = 16  # of a visit, per image
BLIND_PASSES = 5  # times as many for an attack without gradients, whose passes tell it less
RESTARTED = 0.02  # of the visited, from new noise
LURE = 0.5  # probability at which an image is taught, lower than what fools: a margin
REPLAYED = 16  # past finds a step
OWN = 0.1  # weight of naming the fake class of an image's own target, beside naming any


class Pool:
    """What every batch of a round learns from, beside real images; an `Unlabelled`'s draw and loss.

    Args:
        task: says what counts as sparse, and has the training judge.
        attacks: name -> those that carry images on; one is drawn for each visit.
        batches: all that was generated so far.
        generator: draws everything, on the CPU.
        visited: images carried on a step; with 0 past finds are replayed and nothing new is looked for.
    """

    def __init__(
        self,
        task: Task,
        attacks: Mapping[str, Attack],
        batches: Sequence[Batch],
        generator: torch.Generator,
        visited: int = VISITED,
    ):
        self.task, self.attacks, self.generator = task, list(attacks.items()), generator
        self.visited = visited
        self.threat = ThreatModel(min(task.threat.p, LURE), task.threat.k)
        self.targets = balanced_targets(task.spec.real_classes, SIZE)
        self.images: Tensor | None = None
        self.past = Split(
            torch.cat([batch.images for batch in batches]), torch.cat([batch.targets for batch in batches])
        )
        taught = torch.cat([batch.taught for batch in batches])
        self.taught = Replay(self.past[taught], generator) if taught.any() else None
        every = torch.arange(len(self.targets))
        self.turn = Replay(Split(every, every), generator)
        self.own = self.targets[:0]  # targets of what was drawn last, before the oddities

    def draw(self, network: nn.Module, real: Split) -> Tensor:
        """Visit some images -> those that fool, past finds, and what is plainly odd, [M, C, H, W]."""
        drawn = [self._visited(network)] if self.visited else []
        if self.taught:
            drawn.append(self.taught.take(REPLAYED))
        self.own = torch.cat([part.labels for part in drawn]) if drawn else self.targets[:0]
        return torch.cat([*(part.images for part in drawn), oddities(real.images[:REPLAYED], self.generator)])

    def loss(self, logits: Tensor) -> Tensor:
        """Minus the log of all fake classes together, and a little of an image's own among them -> [M]."""
        k = self.task.spec.real_classes
        log = logits.log_softmax(dim=1)
        loss = -log[:, k:].logsumexp(dim=1)
        own = self.own.to(logits.device)
        named = cross_entropy(log[: len(own), k : 2 * k], own, reduction="none")
        return torch.cat([loss[: len(own)] + OWN * named, loss[len(own) :]])

    def _visited(self, network: nn.Module) -> Split:
        """Carry some images on -> those that fool now; what looks real, and a few more, start again from noise."""
        network.eval()
        meter = Meter(network, self.task.spec)
        if self.images is None:
            self.images = self._first(meter)
        rows = self.turn.take(self.visited).labels
        images, targets = self._carry_on(meter, rows), self.targets[rows]
        fools = reached(logits_of(network, images), images, targets, self.threat)
        odd = torch.zeros_like(fools)
        if fools.any():  # the judge is dear, and of a network that stands there is nothing to ask it
            odd[fools] = self.task.judge.score(images[fools]) > self.task.judge.working
        self.images[rows] = images
        again = rows[(fools & ~odd) | (torch.rand(len(rows), generator=self.generator) < RESTARTED)]
        self.images[again] = self._noise(len(again), meter)
        network.train()
        return Split(images[fools & odd], targets[fools & odd])

    def _carry_on(self, meter: Meter, rows: Tensor) -> Tensor:
        name, attack = self.attacks[int(torch.randint(len(self.attacks), (1,), generator=self.generator))]
        passes = PASSES * (BLIND_PASSES if name == "differential_evolution" else 1)
        made = attack(
            meter,
            self.targets[rows].to(meter.device),
            threat=self.threat,
            budget=Budget(passes),
            generator=self.generator,
            start=self.images[rows].to(meter.device),
        )
        return self.task.spec.round(made.cpu())

    def _first(self, meter: Meter) -> Tensor:
        """Half from past finds of the same target where there are any, the rest from noise."""
        images = self._noise(len(self.targets), meter)
        for label in range(self.task.spec.real_classes):
            own = (self.past.labels == label).nonzero().squeeze(1)
            places = (self.targets == label).nonzero().squeeze(1)
            kept = own[torch.randperm(len(own), generator=self.generator)[: len(places) // 2]]
            images[places[: len(kept)]] = self.past.images[kept]
        return images

    def _noise(self, count: int, meter: Meter) -> Tensor:
        even, sparse = noise(count, meter, self.generator), sparse_noise(count, meter, self.generator)
        return torch.where(torch.rand(count, 1, 1, 1, generator=self.generator) < 0.5, even.cpu(), sparse.cpu())
