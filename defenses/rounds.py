"""The loop that defenses share: attack the network, teach it what fooled it, replay the past, until silence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bench.harness.generate import balanced_targets
from bench.materials.split import Split
from bench.materials.training import (
    FAKE_SHARE,
    Unlabelled,
    default_batch,
    default_epochs,
    mixed,
    to_uniform,
    train_classifier,
)
from bench.meter import Meter
from bench.seeds import derive, generator
from bench.task import Batch, Recorder, Round, Task
from bench.types import Attack, Budget
from bench.verify import logits_of, reached

FIRST_PASSES = 100  # of the first round's attack; doubled every other round up to the task's budget
QUIET_ROUNDS = 2  # without a find at full strength, after which training ends
EPOCHS_PER_ROUND = 0.2  # of those that real data alone takes


def rounds(
    task: Task,
    recorder: Recorder,
    *,
    name: str,
    attack: tuple[str, Attack],
    outputs: int,
    label: Callable[[Tensor], Tensor] | None,
    prepare: Callable[[nn.Module, Task], None] = lambda network, task: None,
    anew: bool = False,
) -> Iterator[Round]:
    """Round 0 trains on real data; each later one on real data, what its attack found, and all past finds.

    Args:
        task: what to train and within which limits.
        recorder: hears of every round, epoch and batch.
        name: of the defense, for its seeds.
        attack: the training attack, with the name it is declared under.
        outputs: K real classes and any fake ones.
        label: targets [N] -> the labels that their images are taught as [N]; None teaches them as no class, with
            the uniform distribution over all outputs as their target.
        prepare: what is done to a new network before it sees real data.
        anew: whether a round that has something new to teach trains a new network, as long as round 0 did, instead
            of going on with the last one; a round that found nothing leaves the network as it is.
    """
    past = [finished.batch for finished in task.past if finished.batch]
    network = task.past[-1].network if task.past else task.new_network(outputs, derive(task.seed, name))
    epochs = default_epochs(len(task.train))

    def train(index: int, epochs: int, batches: list[Batch]) -> Round:
        draw = generator(task.seed, name, index)
        found = [_found(part) for part in (batches[-1:], batches[:-1]) if part]
        train_classifier(
            network,
            task.train,
            generator=draw,
            epochs=epochs,
            fakes=[Split(part.images, label(part.labels)) for part in found] if label else (),
            unlabelled=None if label else _no_class(found, len(task.train), draw),
            on_batch=recorder.batch,
            on_epoch=recorder.epoch,
        )
        return Round(index, copy.deepcopy(network), batches[-1] if batches else None)

    if not task.past:
        prepare(network, task)
        yield train(0, epochs, [])
    for index in range(len(past) + 1, task.max_rounds + 1):
        if _silent(past, task.budget):
            return
        past.append(_attacked(task, network, index, name, attack))
        recorder.generated(index, past[-1])
        if not anew:
            yield train(index, max(1, round(EPOCHS_PER_ROUND * epochs)), past)
        elif past[-1].taught.any():
            network = task.new_network(outputs, derive(task.seed, name, index))
            prepare(network, task)
            yield train(index, epochs, past)
        else:
            yield Round(index, copy.deepcopy(network), past[-1])


def _attacked(task: Task, network: nn.Module, index: int, name: str, attack: tuple[str, Attack]) -> Batch:
    """The round's images, those to be taught marked: they reach their target and the training judge rejects them."""
    budget = Budget(min(task.budget.passes, FIRST_PASSES * 2 ** ((index - 1) // 2)))
    targets = balanced_targets(task.spec.real_classes, task.images)
    meter = Meter(network, task.spec, allowance=budget.passes * len(targets))
    draw = generator(task.seed, name, "attack", index)
    called, function = attack
    found = function(meter, targets.to(meter.device), threat=task.threat, budget=budget, generator=draw)
    images = task.spec.round(found.cpu())
    success = reached(logits_of(network, images), images, targets, task.threat)
    taught = success & (task.judge.score(images) > task.judge.working)
    return Batch(images, targets, taught, called, budget)


def _silent(past: list[Batch], most: Budget) -> bool:
    """The attack found nothing in the last rounds, and in them it had its full strength."""
    last = past[-QUIET_ROUNDS:]
    return len(last) == QUIET_ROUNDS and all(b.budget.passes >= most.passes and not b.taught.any() for b in last)


def _found(batches: list[Batch]) -> Split:
    """What batches teach, with its targets."""
    images = torch.cat([batch.images[batch.taught] for batch in batches])
    return Split(images, torch.cat([batch.targets[batch.taught] for batch in batches]))


def _no_class(found: list[Split], real_images: int, draw: torch.Generator) -> Unlabelled | None:
    """As many of them a batch, with as much weight, as fakes have that are taught with a label."""
    if not sum(map(len, found)):
        return None
    replay = mixed(found, default_batch(real_images) * FAKE_SHARE, draw)
    return Unlabelled(lambda *_: torch.cat([part.images for part in replay()]), to_uniform, FAKE_SHARE)
