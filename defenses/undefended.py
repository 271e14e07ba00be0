"""The network as anyone would train it: half A, K outputs, nothing else. Every defense is measured against it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.materials.training import default_epochs, train_classifier
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task, defense


@defense()
def undefended(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once on real data; one round, no images, no training history."""
    if task.past:
        return
    network = task.new_network(task.spec.real_classes, derive(task.seed, "undefended"))
    draw = generator(task.seed, "undefended", "batches")
    epochs = default_epochs(len(task.train))
    train_classifier(
        network, task.train, generator=draw, epochs=epochs, on_batch=recorder.batch, on_epoch=recorder.epoch
    )
    yield Round(0, network)
