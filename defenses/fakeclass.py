"""The reference defense: recognise generated images as extra classes, again and again.

Round 0 knows real data alone. Each later round attacks the network, every attack in its turn and at rising strength,
and learns what fools it and the training judge rejects (a digit is no fake) as fake classes, beside real images, a
replay of all past finds and a pool of images that keep being attacked. With the first generated images two gates shut,
one on what is far from all real images, so that the classes have only what is near them to learn, and one, provably, on
what has fewer lit pixels than real images have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from attacks.differential_evolution import differential_evolution
from attacks.l1_sparse import l1_sparse
from attacks.sparse_pgd import sparse_pgd_unprojected
from bench.materials.gate import Gated
from bench.materials.training import Unlabelled, warped
from bench.seeds import generator
from bench.task import Batch, Defense, Recorder, Round, Task
from bench.types import Attack
from defenses.familiar import Familiar, familiar
from defenses.gate import close_count, fit_count
from defenses.pool import VISITED, Pool
from defenses.rounds import rounds

ATTACKS = {
    "sparse_pgd_unprojected": sparse_pgd_unprojected,
    "differential_evolution": differential_evolution,
    "l1_sparse": l1_sparse,
}
GATES = 2  # outputs that are the gates', not the classifier's
FAKE_WEIGHT = 0.3  # of generated images, beside real ones
LASTING = 0.05  # of a round: most of what it finds, the gate knows already
SILENCE = 0.05  # of a round's images: what is left then stays at about as many, however long it goes on
LEARNING_RATE = 2e-3  # of the rounds after the first, half of what real data alone takes


@dataclass(frozen=True)
class Recipe:
    """What `fakeclass` is made of, so that a part can be left out and missed.

    Args:
        gate: distances to real images and a count of lit pixels, shut from the first generated images on.
        pool: images that keep being attacked; else past finds alone are replayed.
        varied: real images are warped before they are seen.
        attacks: name -> those that take turns, and that carry the pool on.
    """

    gate: bool = True
    pool: bool = True
    varied: bool = True
    attacks: Mapping[str, Attack] = field(default_factory=lambda: ATTACKS)


def made(recipe: Recipe) -> Defense:
    """The defense of a recipe: K fake classes, one per real class, and one of each gate where there are any."""

    def train(task: Task, recorder: Recorder) -> Iterator[Round]:
        yield from rounds(
            task,
            recorder,
            name="fakeclass",
            attacks=recipe.attacks,
            outputs=2 * task.spec.real_classes + (GATES if recipe.gate else 0),
            teach=teach,
            prepare=acquaint if recipe.gate else lambda network, task: None,
            vary=warped if recipe.varied else None,
            lasting=LASTING,
            silence=SILENCE,
        )

    def teach(network: nn.Module, task: Task, batches: list[Batch], draw: torch.Generator) -> dict[str, Any]:
        if recipe.gate:
            count, distances = gates_of(network)
            close_count(count)
            distances.close()
        pool = Pool(task, recipe.attacks, batches, draw, VISITED if recipe.pool else 0)
        return {"unlabelled": Unlabelled(pool.draw, pool.loss, FAKE_WEIGHT), "learning_rate": LEARNING_RATE}

    return Defense(train, recipe.attacks, familiar) if recipe.gate else Defense(train, recipe.attacks)


def acquaint(network: nn.Module, task: Task) -> None:
    """Show the gates what real images are."""
    count, distances = gates_of(network)
    fit_count(count, task.train.images, task.threat.k)
    distances.fit(task.train, generator=generator(task.seed, "familiar"))


def gates_of(network: nn.Module) -> tuple[nn.Sequential, Familiar]:
    """The count and the distances of a network of this shape."""
    assert isinstance(network, Gated)
    assert isinstance(network.gate, nn.Sequential)
    assert isinstance(network.classifier, Gated)
    assert isinstance(network.classifier.gate, Familiar)
    return network.gate, network.classifier.gate


fakeclass = made(Recipe())
