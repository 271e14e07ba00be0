"""A classifier behind a gate that provably shuts on every image with few lit pixels.

It answers a real class t with softmax(f)_t times the gate, and the rest with one fake class: what bounds the gate
bounds every real class, whatever the classifier f is.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from bench.materials.gate import Gated
from bench.materials.training import default_epochs, default_shift, train_classifier, warped
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task, defense
from defenses.gate import gated, most_to_prove, train_gate
from defenses.rounds import VARIED_EPOCHS

SHIFTED_EPOCHS = 5  # times the usual ones, where random shifts make images new again


@defense(shape=gated)
def sparse_gate(task: Task, recorder: Recorder) -> Iterator[Round]:
    """The gate, then the classifier on real data; one round, no images, no training history."""
    if task.past:
        return
    network = task.new_network(task.spec.real_classes + 1, derive(task.seed, "sparse_gate"))
    shut(network, task)
    shift, draw = default_shift(task.spec), generator(task.seed, "sparse_gate", "batches")
    train_classifier(
        network,
        task.train,
        generator=draw,
        epochs=default_epochs(len(task.train)) * (SHIFTED_EPOCHS if shift else VARIED_EPOCHS),
        most_shift=shift,
        alter=None if shift else lambda network, real: warped(real.images, draw),
        on_batch=recorder.batch,
        on_epoch=recorder.epoch,
    )
    yield Round(0, network)


def shut(network: nn.Module, task: Task) -> None:
    """Train the gate of a network: it shuts on all that is sparse, or on what is sparser than any real image."""
    assert isinstance(network, Gated)
    k = most_to_prove(task.train.images, task.threat.k)
    train_gate(network.gate, task.train, task.spec, k, generator=generator(task.seed, "gate"))
