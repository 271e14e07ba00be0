"""A classifier behind a gate that provably shuts on every image with few lit pixels.

It answers a real class t with softmax(f)_t times the gate, and the rest with one fake class: what bounds the gate
bounds every real class, whatever the classifier f is.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from bench.materials.gate import Gated
from bench.materials.training import default_epochs, default_shift, train_classifier
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task, defense
from defenses.gate import gated, most_to_prove, train_gate

SHIFTED_EPOCHS = 5  # times the usual ones, where random shifts make images new again


@defense(shape=gated)
def sparse_gate(task: Task, recorder: Recorder) -> Iterator[Round]:
    """The gate, then the classifier on real data; one round, no images, no training history."""
    if task.past:
        return
    network = task.new_network(task.spec.real_classes + 1, derive(task.seed, "sparse_gate"))
    shut(network, task)
    shift = default_shift(task.spec)
    train_classifier(
        network,
        task.train,
        generator=generator(task.seed, "sparse_gate", "batches"),
        epochs=default_epochs(len(task.train)) * (SHIFTED_EPOCHS if shift else 1),
        most_shift=shift,
        on_batch=recorder.batch,
        on_epoch=recorder.epoch,
    )
    yield Round(0, network)


def shut(network: nn.Module, task: Task) -> None:
    """Train the gate of a network: it shuts up to one lit pixel less than the sparsest real training image has."""
    assert isinstance(network, Gated)
    k = most_to_prove(task.train.images)
    train_gate(network.gate, task.train, task.spec, k, generator=generator(task.seed, "gate"))
