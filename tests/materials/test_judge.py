"""A judge keeps held-out real images as calibrated, rejects what is not real, and says so the same way twice."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from bench.errors import BadInputError, NonFiniteError
from bench.materials import detectors, views
from bench.materials.data import Data, load
from bench.materials.detectors import AXES, DETECTORS, ClassGaussian, Frame, Nearest, TiedGaussian
from bench.materials.judge import (
    MEASURING,
    STRICT,
    TRAINING,
    WORKING,
    FittedJudge,
    Scale,
    fit_judge,
    measuring_judge,
    thresholds,
    training_judge,
)
from bench.verdict.stats import ratio

SEEDS = range(4)


@cache
def digits(seed: int = 0) -> Data:
    return load("digits", root=Path(), seed=seed, allow_download=False)


@cache
def measuring(seed: int = 0) -> FittedJudge:
    return measuring_judge(digits(seed).b_train.images, digits(seed).b_train.labels, seed=seed)


def smooth(n: int, channels: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes of soft bars, upright and lying, of any shape."""
    g = torch.Generator().manual_seed(seed)
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    labels = torch.arange(n) % 2
    where = 0.5 + 0.1 * torch.randn(n, generator=g)
    bars = [
        torch.exp(-((rows - w * height) ** 2 if label else (columns - w * width) ** 2) / 4).expand(height, width)
        for w, label in zip(where, labels, strict=True)
    ]
    gains = 0.6 + 0.4 * torch.rand(n, channels, 1, 1, generator=g)
    return torch.stack(bars)[:, None] * gains, labels


@pytest.mark.parametrize("fit", [training_judge, measuring_judge])
def test_held_out_real_images_are_kept_as_calibrated(fit):
    rejected = {"working": 0, "strict": 0}
    n = 0
    for seed in SEEDS:
        data = digits(seed)
        judge = fit(data.b_train.images, data.b_train.labels, seed=seed)
        scores = judge.score(torch.cat([data.a_train.images, data.b_val.images]))
        n += len(scores)
        for name in rejected:
            rejected[name] += int((scores > getattr(judge, name)).sum())
    assert ratio(rejected["working"], n).lower <= 1 - WORKING
    assert rejected["working"] > 0.002 * n  # nor does it keep everything: that threshold would be too high
    assert ratio(rejected["strict"], n).lower <= 1 / len(digits().b_train)


def test_working_keeps_99_percent_and_strict_all_of_few_images():
    scores = torch.arange(600, dtype=torch.float64)
    working, strict = thresholds(scores[torch.randperm(600)])
    assert (working, strict) == (594, 599)
    assert int((scores > working).sum()) <= 600 * (1 - WORKING)


def test_strict_keeps_all_but_one_in_a_thousand_of_many_images():
    scores = torch.arange(20_000, dtype=torch.float64)
    working, strict = thresholds(scores)
    assert 0.98 * 200 <= int((scores > working).sum()) <= 200
    assert 0.9 * 20 <= int((scores > strict).sum()) <= 20 * (1 - STRICT) * 1000


@pytest.mark.parametrize("n", [1, 5, 99, 999, 1000, 1001, 1999])
def test_thresholds_are_ordered_scores(n):
    scores = torch.randn(n, dtype=torch.float64)
    working, strict = thresholds(scores)
    assert working <= strict
    assert {working, strict} <= set(scores.tolist())


def test_garbage_scores_above_real_images():
    """A flipped comparison or sign anywhere in the judge would turn this around."""
    judge, real = measuring(), digits().test.images
    garbage = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8), torch.eye(8)[None], 1 - real[0]])
    assert judge.working < judge.strict
    assert (judge.score(garbage) > judge.strict).all()
    assert (judge.score(real) <= judge.working).double().mean() > 0.95


def test_any_detector_rejects():
    judge, images = measuring(), torch.cat([digits().test.images[:50], torch.rand(50, 1, 8, 8)])
    each = judge.scores_by_detector(images)
    assert tuple(each) == MEASURING
    any_rejects = torch.stack([scores > judge.strict for scores in each.values()]).any(dim=0)
    assert torch.equal(judge.score(images) > judge.strict, any_rejects)
    assert judge.score(images).dtype == torch.float64


def test_the_oddest_detector_is_the_one_whose_score_the_judge_gives():
    judge, images = measuring(), torch.cat([digits().test.images[:50], torch.rand(50, 1, 8, 8)])
    each, names = judge.scores_by_detector(images), judge.oddest(images)
    assert [each[name][index].item() for index, name in enumerate(names)] == judge.score(images).tolist()
    assert len(set(names)) > 1


def test_the_measuring_judge_has_detectors_that_no_defense_can_reach():
    assert set(TRAINING) < set(MEASURING) <= set(DETECTORS)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_tells_noise_from_real_images(name):
    data = digits()
    judge = fit_judge(data.b_train.images, data.b_train.labels, detectors=[name], seed=0)
    real, dim = judge.score(data.test.images), judge.score(0.1 * torch.rand(200, 1, 8, 8))
    assert (dim[:, None] > real[None]).double().mean() > 0.95


def test_the_same_seed_gives_the_same_judge():
    data = digits()
    first, second = (measuring_judge(data.b_train.images, data.b_train.labels, seed=3) for _ in range(2))
    assert (first.working, first.strict, first.scales) == (second.working, second.strict, second.scales)
    assert torch.equal(first.score(data.test.images), second.score(data.test.images))


def test_a_score_does_not_depend_on_the_other_images():
    judge, images = measuring(), digits().test.images
    together = judge.score(images)
    torch.testing.assert_close(together[7:8], judge.score(images[7:8]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 9, 7), (1, 6, 6), (2, 5, 12)])
def test_any_channels_and_sizes(shape):
    images, labels = smooth(300, *shape)
    judge = measuring_judge(images, labels, seed=0)
    fresh, _ = smooth(200, *shape, seed=1)
    assert (judge.score(fresh) <= judge.strict).double().mean() > 0.95
    assert (judge.score(torch.rand(100, *shape)) > judge.strict).all()


def test_images_of_more_numbers_than_axes():
    """The rest of a row counts: noise that the axes miss must not look like its faint shadow."""
    images, labels = smooth(400, 3, 12, 12)
    assert images[0].numel() > AXES
    judge = measuring_judge(images, labels, seed=0)
    speckled = images[:100] + 0.3 * (torch.rand(100, 3, 12, 12) < 0.1)
    assert (judge.score(speckled.clamp(0, 1)) > judge.strict).all()
    exact = torch.cdist(speckled.flatten(1), images.flatten(1)).amin(dim=1)
    nearest = Nearest().fit(images.flatten(1), labels, 0).score(speckled.flatten(1))
    assert (nearest >= exact - 1e-3).all()


@pytest.mark.parametrize("model", [ClassGaussian, TiedGaussian])
def test_the_nearest_class_decides_and_what_the_axes_leave_counts(model):
    g = torch.Generator().manual_seed(0)
    centres = torch.zeros(2, AXES + 100)
    centres[0, 0], centres[1, 1] = 20.0, 20.0
    labels = torch.arange(1000) % 2
    wide = torch.cat([torch.ones(AXES), 0.01 * torch.ones(100)])
    fitted = model().fit(centres[labels] + wide * torch.randn(1000, AXES + 100, generator=g), labels, 0)
    beside = torch.zeros(1, AXES + 100)
    beside[0, -1] = 1.0  # small, but where real rows have almost nothing
    probes = torch.cat([centres[:1], centres.mean(dim=0, keepdim=True), centres[:1] + beside])
    at_home, between, off_axes = fitted.score(probes)
    assert at_home < between
    assert off_axes > at_home + 10


def test_axes_from_a_sample_see_every_class(monkeypatch):
    """Real data come in an order: every other row may be of one class."""
    monkeypatch.setattr(detectors, "AXES_FROM", 50)
    labels = torch.arange(100) % 2
    rows = torch.zeros(100, 80)
    rows[torch.arange(100), labels * 40] = 1.0
    _, left = Frame(rows, 4, seed=0)(rows)
    assert left.max() < 1e-3


def test_views_are_what_they_say():
    image = torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(views.direction(0.5 * image), views.direction(image), atol=1e-3, rtol=0)
    torch.testing.assert_close(views.root_direction(image)[:, :-1] ** 2, (image / image.sum()).flatten(1))
    blank = torch.zeros_like(image)
    for view in (views.direction, views.root_direction):
        assert (view(blank) - view(image)).norm() > 1.41  # a right angle


def test_texture_of_a_single_pixel():
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 3, 5] = 0.25
    brightness = torch.tensor(0.25 / 81 + views.FAINT).log()
    expected = torch.tensor([[brightness, 4, 8, 1 / 3, 0.5, 1]])
    torch.testing.assert_close(views.texture(image), expected)
    torch.testing.assert_close(views.texture(image.roll(2, dims=3)), expected)


def test_one_odd_real_image_does_not_blind_a_detector():
    scores = torch.randn(600, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    odd, unlikely = torch.tensor([40.0, 5.0], dtype=torch.float64)
    scale = Scale.of(torch.cat([scores, odd[None]]))
    assert scale(unlikely) > scale(scores.max())
    assert scale(odd) < 4 * scale(unlikely)  # on a linear scale it would be more than 10 times as far


def test_a_scale_rises_and_starts_at_the_tail():
    scores = torch.randn(1000, dtype=torch.float64).exp()
    scaled = Scale.of(scores)(scores.sort().values)
    assert (scaled.diff() >= 0).all()
    assert abs((scaled > 0).double().mean() - 0.1) < 0.01


def test_a_scale_of_equal_scores_is_finite():
    scale = Scale.of(torch.zeros(100, dtype=torch.float64))
    assert torch.isfinite(scale(torch.tensor([0.0, 1.0], dtype=torch.float64))).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_refused(value):
    images = digits().test.images[:3].clone()
    images[1, 0, 4, 4] = value
    with pytest.raises(NonFiniteError, match="1 of 3"):
        measuring().score(images)
    with pytest.raises(NonFiniteError):
        fit_judge(images, digits().test.labels[:3], seed=0)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 8, 8\)"):
        measuring().score(torch.zeros(2, 3, 8, 8))


def test_a_class_too_small_to_cross_validate_is_refused():
    with pytest.raises(BadInputError, match="a class has 2 images"):
        fit_judge(torch.rand(22, 1, 4, 4), torch.tensor([0] * 20 + [1] * 2), seed=0)


def test_no_images_no_scores():
    assert measuring().score(torch.zeros(0, 1, 8, 8)).shape == (0,)
