"""Outlier exposure: K outputs, uniform on outliers that no attack made.

Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, https://arxiv.org/abs/1812.04606. The
paper's outliers are photographs, and it found noise to be a weaker teacher; here nothing but noise is to be had.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.materials.training import Unlabelled, default_epochs, to_uniform, train_classifier
from bench.seeds import derive, generator
from bench.task import Recorder, Round, Task, defense
from bench.types import ImageSpec

WEIGHT = 0.5  # the paper's lambda for image classifiers


@defense()
def outlier_exposure(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once on real data and as many new outliers beside it; one round, no images, no training history."""
    if task.past:
        return
    network = task.new_network(task.spec.real_classes, derive(task.seed, "outlier_exposure"))
    draw = generator(task.seed, "outlier_exposure", "outliers")
    train_classifier(
        network,
        task.train,
        generator=generator(task.seed, "outlier_exposure", "batches"),
        epochs=default_epochs(len(task.train)),
        unlabelled=Unlabelled(lambda _, real: outliers(len(real), task.spec, draw), to_uniform, WEIGHT),
        on_batch=recorder.batch,
        on_epoch=recorder.epoch,
    )
    yield Round(0, network)


def outliers(count: int, spec: ImageSpec, generator: torch.Generator) -> Tensor:
    """Noise, half of it sparse, with a density and brightness of each image's own -> [count, C, H, W] on the grid."""
    images, sparse = torch.rand(count, *spec.shape, generator=generator), count // 2
    density, brightness = torch.rand(2, sparse, 1, 1, 1, generator=generator)
    images[:sparse] *= brightness * (torch.rand(sparse, 1, *spec.shape[1:], generator=generator) < density)
    return spec.round(images)
