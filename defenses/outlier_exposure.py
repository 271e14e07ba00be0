"""Outlier exposure: K outputs, uniform on outliers that no attack made.

Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, https://arxiv.org/abs/1812.04606. The
paper's outliers are photographs, and it found noise to be a weaker teacher; here nothing but noise is to be had.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.materials.training import Unlabelled, to_uniform
from bench.seeds import generator
from bench.task import Recorder, Round, Task, defense
from bench.types import ImageSpec
from defenses.alone import one_round

WEIGHT = 0.5  # the paper's lambda for image classifiers


@defense()
def outlier_exposure(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once on real data and as many new outliers beside it; one round, no images, no training history."""
    draw = generator(task.seed, "outlier_exposure", "outliers")
    beside = Unlabelled(lambda _, real: outliers(len(real), task.spec, draw), to_uniform, WEIGHT)
    yield from one_round(task, recorder, "outlier_exposure", unlabelled=beside)


def outliers(count: int, spec: ImageSpec, generator: torch.Generator) -> Tensor:
    """Noise, half of it sparse, with a density and brightness of each image's own -> [count, C, H, W] on the grid."""
    images, sparse = torch.rand(count, *spec.shape, generator=generator), count // 2
    density, brightness = torch.rand(2, sparse, 1, 1, 1, generator=generator)
    images[:sparse] *= brightness * (torch.rand(sparse, 1, *spec.shape[1:], generator=generator) < density)
    return spec.round(images)
