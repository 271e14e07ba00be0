"""Training that ends after one round: real data, and beside or instead of it what a defense asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.materials.training import default_epochs, train_classifier
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task


def one_round(task: Task, recorder: Recorder, name: str, **how: Any) -> Iterator[Round]:
    """K outputs, half A, no images and no training history; nothing where the round is done already.

    Args:
        name: of the defense, for its seeds.
        how: further arguments of `train_classifier`.
    """
    if task.past:
        return
    network = task.new_network(task.spec.real_classes, derive(task.seed, name))
    train_classifier(
        network,
        task.train,
        generator=generator(task.seed, name, "batches"),
        epochs=default_epochs(len(task.train)),
        on_batch=recorder.batch,
        on_epoch=recorder.epoch,
        **how,
    )
    yield Round(0, network)
