"""The loop that defenses share: attack the network, teach it what fooled it, replay the past, until silence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
QUIET_ROUNDS = 2  # without a find at full strength, after which training ends; or one for each of more attacks
VARIED_EPOCHS = 6  # times the usual ones, where images are never the same twice
EPOCHS_PER_ROUND = 0.2  # of those that real data alone takes

Teach = Callable[[nn.Module, Task, list[Batch], torch.Generator], dict[str, Any]]
"""(the network, task, all batches so far, a generator) -> what `train_classifier` is given beside real images."""


def rounds(
    task: Task,
    recorder: Recorder,
    *,
    name: str,
    attacks: Mapping[str, Attack],
    outputs: int,
    teach: Teach,
    prepare: Callable[[nn.Module, Task], None] = lambda network, task: None,
    anew: bool = False,
    vary: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    lasting: float = EPOCHS_PER_ROUND,
    silence: float = 0.0,
) -> Iterator[Round]:
    """Round 0 trains on real data; each later one on real data, what its attack found, and all past finds.

    Args:
        task: what to train and within which limits.
        recorder: hears of every round, epoch and batch.
        name: of the defense, for its seeds.
        attacks: name -> the training attacks, which take turns.
        outputs: K real classes and any fake ones.
        teach: how what was found is taught; `labelled` and `no_class` are two ways.
        prepare: what is done to a new network before it sees real data.
        anew: whether a round that has something new to teach trains a new network, as long as round 0 did, instead
            of going on with the last one; a round that found nothing leaves the network as it is.
        vary: (real images of a batch, a generator) -> what is seen instead; round 0 then takes VARIED_EPOCHS times
            as long.
        lasting: epochs of a later round, as a share of those that real data alone takes.
        silence: share of a round's images up to which what is taught counts as nothing found.
    """
    past = [finished.batch for finished in task.past if finished.batch]
    network = task.past[-1].network if task.past else task.new_network(outputs, derive(task.seed, name))
    epochs = default_epochs(len(task.train))

    def train(index: int, epochs: int, batches: list[Batch]) -> Round:
        draw = generator(task.seed, name, index)
        train_classifier(
            network,
            task.train,
            generator=draw,
            epochs=epochs,
            alter=(lambda network, real, _: vary(real.images, draw)) if vary else None,
            on_batch=recorder.batch,
            on_epoch=recorder.epoch,
            **(teach(network, task, batches, draw) if batches else {}),
        )
        return Round(index, copy.deepcopy(network), batches[-1] if batches else None)

    if not task.past:
        prepare(network, task)
        yield train(0, epochs * (VARIED_EPOCHS if vary else 1), [])
    for index in range(len(past) + 1, task.max_rounds + 1):
        if _silent(past, task.budget, len(attacks), silence):
            return
        past.append(_attacked(task, network, index, name, attacks))
        recorder.generated(index, past[-1])
        if not anew:
            yield train(index, max(1, round(lasting * epochs)), past)
        elif past[-1].taught.any():
            network = task.new_network(outputs, derive(task.seed, name, index))
            prepare(network, task)
            yield train(index, epochs, past)
        else:
            yield Round(index, copy.deepcopy(network), past[-1])


def labelled(label: Callable[[Tensor], Tensor]) -> Teach:
    """Every image with a label: targets [N] -> the labels that their images are taught as [N]."""

    def teach(network: nn.Module, task: Task, batches: list[Batch], draw: torch.Generator) -> dict[str, Any]:
        return {"fakes": [Split(part.images, label(part.labels)) for part in _newest_and_past(batches)]}

    return teach


def no_class(network: nn.Module, task: Task, batches: list[Batch], draw: torch.Generator) -> dict[str, Any]:
    """No image with any label: the uniform distribution over all outputs is their target.

    A batch holds as many of them, with as much weight, as `labelled` would have fakes.
    """
    found = _newest_and_past(batches)
    if not sum(map(len, found)):
        return {}
    replay = mixed(found, default_batch(len(task.train)) * FAKE_SHARE, draw)
    return {"unlabelled": Unlabelled(lambda *_: torch.cat([part.images for part in replay()]), to_uniform, FAKE_SHARE)}


def _attacked(task: Task, network: nn.Module, index: int, name: str, attacks: Mapping[str, Attack]) -> Batch:
    """The round's images, those to be taught marked: they reach their target and the training judge rejects them."""
    budget = Budget(min(task.budget.passes, FIRST_PASSES * 2 ** ((index - 1) // 2)))
    targets = balanced_targets(task.spec.real_classes, task.images)
    meter = Meter(network, task.spec, allowance=budget.passes * len(targets))
    draw = generator(task.seed, name, "attack", index)
    called = list(attacks)[(index - 1) % len(attacks)]
    found = attacks[called](meter, targets.to(meter.device), threat=task.threat, budget=budget, generator=draw)
    images = task.spec.round(found.cpu())
    success = reached(logits_of(network, images), images, targets, task.threat)
    taught = success & (task.judge.score(images) > task.judge.working)
    return Batch(images, targets, taught, called, budget)


def _silent(past: list[Batch], most: Budget, attacks: int, silence: float) -> bool:
    """The attacks found nothing in the last rounds, and in them they had their full strength."""
    quiet = max(QUIET_ROUNDS, attacks)
    last = past[-quiet:]
    found = [batch.taught.double().mean() > silence or batch.budget.passes < most.passes for batch in last]
    return len(last) == quiet and not any(found)


def _newest_and_past(batches: list[Batch]) -> list[Split]:
    """What the newest batch teaches and what all earlier ones do: each gets half of a replay."""
    return [_found(part) for part in (batches[-1:], batches[:-1]) if part]


def _found(batches: list[Batch]) -> Split:
    """What batches teach, with its targets."""
    images = torch.cat([batch.images[batch.taught] for batch in batches])
    return Split(images, torch.cat([batch.targets[batch.taught] for batch in batches]))
