import math

import pytest
import torch
from torch import nn

from bench.harness.detection import detected, detection_counts, real_counts
from bench.materials.split import Split
from bench.types import ThreatModel

NAMES = ("a", "b")


def test_with_fake_classes_the_prediction_decides_and_without_the_probability():
    with_fakes = torch.tensor([[3.0, 0, 4, 0], [4.0, 0, 3, 0]])
    assert detected(with_fakes, 2, ThreatModel(0.9, 1)).tolist() == [True, False]
    sure, unsure = [9.0, 0.0], [0.5, 0.0]
    assert detected(torch.tensor([sure, unsure]), 2, ThreatModel(0.9, 1)).tolist() == [False, True]


def test_without_fake_classes_each_class_has_its_own_p():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # 0.73 each
    assert detected(logits, 2, ThreatModel((0.7, 0.9), 1)).tolist() == [False, True]


class Echo(nn.Module):
    def forward(self, images):
        return images.flatten(1)


def test_counts_are_told_in_aggregate_and_per_target():
    images = torch.tensor([[0, 0, 5, 0.0], [5, 0, 0, 0.0], [0, 0, 5, 0.0]]).view(3, 1, 2, 2)
    total, per_class = detection_counts(Echo(), images, torch.tensor([0, 0, 1]), ThreatModel(0.9, 4), NAMES)
    assert (total.successes, total.n) == (2, 3)
    assert {name: (c.successes, c.n) for name, c in per_class.items()} == {"a": (1, 2), "b": (1, 1)}
    assert total.means["exact"] == pytest.approx(1 / 3)
    assert total.means["no_real_class_predicted"] == pytest.approx(2 / 3)
    assert 0 < total.means["fake_probability"] < 1
    assert math.isfinite(total.means["loss"])


def test_an_empty_set_is_an_empty_sample_not_a_zero():
    total, per_class = detection_counts(
        Echo(), torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long), ThreatModel(0.9, 4), NAMES
    )
    assert (total.n, total.means) == (0, {})
    assert set(per_class) == {"a", "b"}


def test_confident_accuracy_asks_for_the_true_class_at_p():
    images = torch.tensor([[9, 0, 0, 0], [1, 0, 0, 0], [0, 9, 0, 0.0]]).view(3, 1, 2, 2)
    measures, per_class = real_counts(Echo(), Split(images, torch.tensor([0, 0, 0])), NAMES, 0.9)
    assert (measures["accuracy"].successes, measures["confident_accuracy"].successes) == (2, 1)
    assert per_class["a"].successes == 2
    assert per_class["b"].n == 0
