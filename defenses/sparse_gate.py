"""A classifier behind a gate that provably shuts on every image with few lit pixels.

It answers a real class t with softmax(f)_t times the gate, and the rest with one fake class: what bounds the gate
bounds every real class, whatever the classifier f is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from bench.materials.gate import Gated
from bench.materials.split import Split
from bench.materials.training import default_epochs, default_shift, train_classifier, warped
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task, defense
from bench.types import ImageSpec
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
    learn(network, task.train, task.spec, task.seed, on_batch=recorder.batch, on_epoch=recorder.epoch)
    yield Round(0, network)


def learn(network: nn.Module, real: Split, spec: ImageSpec, seed: int, **hooks: Any) -> None:
    """Train a network in place on real images that are moved at random or, where they are too small for it, warped.

    Args:
        seed: of the run.
        hooks: `on_batch` and `on_epoch` of `train_classifier`.
    """
    shift, draw = default_shift(spec), generator(seed, "sparse_gate", "batches")
    train_classifier(
        network,
        real,
        generator=draw,
        epochs=default_epochs(len(real)) * (SHIFTED_EPOCHS if shift else VARIED_EPOCHS),
        most_shift=shift,
        alter=None if shift else lambda network, part, _: warped(part.images, draw),
        **hooks,
    )


def shut(network: nn.Module, task: Task) -> None:
    """Train the gate of a network: it shuts on all that is sparse, or on what is sparser than any real image."""
    assert isinstance(network, Gated)
    k = most_to_prove(task.train.images, task.threat.k)
    train_gate(network.gate, task.train, task.spec, k, generator=generator(task.seed, "gate"))
