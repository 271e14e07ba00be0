"""The reference defense: recognise generated images as extra classes, again and again.

Each round attacks the network, labels what the training judge rejects with the fake class of its target, and
trains on real images, the new fakes and a replay of all past ones. It ends when the attack, at its full strength,
finds nothing for two rounds running.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from attacks.l1_sparse import l1_sparse
from bench.materials.split import Split
from bench.materials.training import default_epochs
from bench.meter import Meter
from bench.seeds import derive, generator
from bench.task import Batch, Recorder, Round, Task, defense
from bench.types import Budget
from bench.verify import reached
from defenses.rounds import train_epochs

FIRST_PASSES = 100  # of the first round's attack; doubled every other round up to the task's budget
QUIET_ROUNDS = 2


@defense(l1_sparse=l1_sparse)
def fakeclass(task: Task, recorder: Recorder) -> Iterator[Round]:
    """K fake classes, one per real class; rounds of attack and training until the attack falls silent."""
    k = task.spec.real_classes
    past = [round_.batch for round_ in task.past if round_.batch]
    if task.past:
        network = task.past[-1].network
    else:
        network = task.new_network(2 * k, derive(task.seed, "fakeclass"))
        train_epochs(
            network,
            task.train,
            _none(task),
            _none(task),
            epochs=default_epochs(len(task.train)),
            generator=generator(task.seed, "fakeclass", 0),
            recorder=recorder,
        )
        yield Round(0, copy.deepcopy(network))
    for index in range(len(past) + 1, task.max_rounds + 1):
        if _silent(past, task.budget):
            return
        batch = _attacked(task, network, index)
        recorder.generated(index, batch)
        train_epochs(
            network,
            task.train,
            _fakes([batch], task),
            _fakes(past, task),
            epochs=max(1, default_epochs(len(task.train)) // 5),
            generator=generator(task.seed, "fakeclass", index),
            recorder=recorder,
        )
        past.append(batch)
        yield Round(index, copy.deepcopy(network), batch)


def _attacked(task: Task, network: torch.nn.Module, index: int) -> Batch:
    """The round's images, those to be taught marked: they reach their target and the training judge rejects them."""
    budget = Budget(min(task.budget.passes, FIRST_PASSES * 2 ** ((index - 1) // 2)))
    targets = torch.arange(task.spec.real_classes).repeat(-(-task.images // task.spec.real_classes))
    meter = Meter(network, task.spec)
    draw = generator(task.seed, "fakeclass attack", index)
    images = l1_sparse(meter, targets.to(meter.device), threat=task.threat, budget=budget, generator=draw).cpu()
    images = task.spec.round(images)
    with torch.no_grad():
        logits = network(images.to(meter.device)).cpu()
    taught = reached(logits, images, targets, task.threat) & (task.judge.score(images) > task.judge.working)
    return Batch(images, targets, taught, "l1_sparse", budget)


def _silent(past: list[Batch], most: Budget) -> bool:
    """The attack found nothing in the last rounds, and in them it had its full strength."""
    last = past[-QUIET_ROUNDS:]
    return len(last) == QUIET_ROUNDS and all(b.budget.passes >= most.passes and not b.taught.any() for b in last)


def _fakes(batches: list[Batch], task: Task) -> Split:
    """What batches teach, labelled with the fake class of its target."""
    images = [batch.images[batch.taught] for batch in batches]
    labels = [batch.targets[batch.taught] + task.spec.real_classes for batch in batches]
    return Split(torch.cat(images), torch.cat(labels)) if images else _none(task)


def _none(task: Task) -> Split:
    return Split(torch.zeros(0, *task.spec.shape), torch.zeros(0, dtype=torch.long))
