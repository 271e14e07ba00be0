"""The network as anyone would train it: half A, K outputs, nothing else. Every defense is measured against it."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.functional import cross_entropy

from bench.materials.training import default_epochs, train_classifier
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task, defense


@defense()
def undefended(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once on real data; one round, no images, no training history."""
    if task.past:
        return
    network = task.new_network(task.spec.real_classes, derive(task.seed, "undefended"))
    train_classifier(
        network,
        task.train,
        generator=generator(task.seed, "undefended batches"),
        epochs=default_epochs(len(task.train)),
        on_batch=lambda _, __, logits, labels: recorder.batch(
            logits, labels, cross_entropy(logits, labels, reduction="none")
        ),
        on_epoch=lambda _, network: recorder.epoch(network),
    )
    yield Round(0, network)
