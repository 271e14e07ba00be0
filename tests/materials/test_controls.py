"""The controls find a judge that errs, and the judges of this bench pass them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from bench.materials.controls import (
    CONTROLS,
    FEWEST,
    N,
    Source,
    blocks_shuffled,
    by_budget,
    measure_controls,
    photographs,
    pixels_shuffled,
)
from bench.materials.data import Data, load
from bench.materials.judge import FittedJudge, fit_judge, measuring_judge, training_judge
from bench.materials.split import Split
from bench.record import JudgeControl
from bench.types import ImageSpec, lit_pixels

FEW = 2500  # of MNIST's images for the judge: enough for its controls


@cache
def digits() -> Data:
    return load("digits", root=Path(), seed=0, allow_download=False)


def controls_of(judge: FittedJudge, data: Data, extra: dict | None = None, seed: int = 0) -> dict[str, JudgeControl]:
    rows = measure_controls(judge, data.test, data.spec, torch.Generator().manual_seed(seed), extra or {})
    return {row.name: row for row in rows}


def failing(rows: dict[str, JudgeControl]) -> set[str]:
    return {name for name, row in rows.items() if row.holds is False}


def source(shape: tuple[int, int, int], levels: int = 255) -> Source:
    real = Split(torch.rand(30, *shape), torch.arange(30) % 3)
    return Source(real, ImageSpec(shape, levels, ("a", "b", "c")), torch.Generator().manual_seed(0))


def test_what_is_made_of_real_images_is_what_it_says():
    of = source((1, 4, 6))
    seen = {tuple(image.flatten().tolist()) for image in of.real.images}

    def real(image: torch.Tensor) -> bool:
        return tuple(image.flatten().tolist()) in seen

    assert all(real(image.flip(1)) for image in CONTROLS["upside_down"][1](of))
    halves = CONTROLS["one_half"][1](of)
    dark = torch.stack([halves[:, :, :2].sum((1, 2, 3)) == 0, halves[:, :, 2:].sum((1, 2, 3)) == 0])
    assert bool((dark.sum(dim=0) == 1).all())
    assert 0.4 < dark[0].float().mean() < 0.6
    assert not any(real(image) for image in CONTROLS["overlaid"][1](of))
    assert all(CONTROLS["overlaid"][1](of).mean(dim=(1, 2, 3)) > 0.5)  # brighter than either


def single_pixels(n: int) -> torch.Tensor:
    return torch.eye(64)[torch.arange(n) % 64].view(n, 1, 8, 8)


@pytest.mark.parametrize("fit", [training_judge, measuring_judge])
def test_the_judges_of_digits_pass_their_controls(fit):
    half = digits().b_train
    rows = controls_of(fit(half.images, half.labels, seed=0), digits(), {"fools_control_k=5": single_pixels(100)})
    assert failing(rows) == set()
    assert rows["real"].n == len(digits().test)
    assert all(row.auroc > 0.99 for row in rows.values() if row.required and row.name != "real")
    assert rows["halves_joined"].holds is None


def test_brightness_alone_fails_its_controls():
    half = digits().b_train
    rows = controls_of(fit_judge(half.images, half.labels, detectors=["brightness"], seed=0), digits())
    assert {"pixels_shuffled", "blocks_shuffled", "noise"} <= failing(rows)
    assert "takes such images for real" in rows["pixels_shuffled"].reason


@pytest.mark.mnist
def test_euclidean_distance_alone_takes_dim_noise_for_digits(mnist_root):
    """The trap that this bench exists to avoid: almost black images lie near thin digits."""
    data = load("mnist", root=mnist_root, seed=0, allow_download=False)
    half = data.b_train[:FEW]
    rows = controls_of(fit_judge(half.images, half.labels, detectors=["euclidean"], seed=0), data)
    assert {"blank", "noise"} <= failing(rows)
    assert rows["blank"].rejected_strict < 0.5


@pytest.mark.mnist
def test_the_measuring_judge_of_mnist_passes_its_controls(mnist_root):
    data = load("mnist", root=mnist_root, seed=0, allow_download=False)
    data = replace(data, test=data.test[::4])
    half = data.b_train[:FEW]
    assert failing(controls_of(measuring_judge(half.images, half.labels, seed=0), data)) == set()


def test_a_judge_that_rejects_everything_fails_on_real_images():
    half = digits().b_train
    judge = replace(fit_judge(half.images, half.labels, seed=0), working=-100.0, strict=-100.0)
    rows = controls_of(judge, digits())
    assert failing(rows) == {"real"}
    assert "differ" in rows["real"].reason


def test_a_judge_that_keeps_everything_fails_on_the_rest():
    half = digits().b_train
    judge = replace(fit_judge(half.images, half.labels, seed=0), working=1e9, strict=1e9)
    assert failing(controls_of(judge, digits())) == {name for name, (required, _) in CONTROLS.items() if required}


def test_images_that_must_be_rejected_and_are_not_fail():
    half = digits().b_train
    judge = fit_judge(half.images, half.labels, seed=0)
    mixed = torch.cat([digits().test.images[:10], single_pixels(490)])  # 98%: above the bound that is asked
    rows = controls_of(judge, digits(), {"real_ones": digits().test.images[:100], "mixed": mixed})
    assert failing(rows) == {"real_ones", "mixed"}
    assert "490 of 500" in rows["mixed"].reason


@pytest.mark.parametrize("n", [0, FEWEST - 1])
def test_too_few_images_prove_nothing(n):
    half = digits().b_train
    row = controls_of(fit_judge(half.images, half.labels, seed=0), digits(), {"few": single_pixels(n)})["few"]
    assert row.holds is False
    assert "make more" in row.reason


def test_the_same_generator_gives_the_same_controls():
    half = digits().b_train
    judge = fit_judge(half.images, half.labels, seed=0)
    assert controls_of(judge, digits()) == controls_of(judge, digits())


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 11, 7), (2, 3, 40), (4, 64, 64)])
def test_controls_fit_every_shape(name, shape):
    images = CONTROLS[name][1](source(shape))
    assert images.shape[1:] == shape
    assert len(images) >= 0.5 * N
    assert images.min() >= 0
    assert images.max() <= 1


def test_blank_images_have_one_lit_pixel_at_most():
    lit = lit_pixels(CONTROLS["blank"][1](source((3, 9, 9))))
    assert lit[0] == 0
    assert (lit[1:] == 1).all()


def test_noise_covers_the_grid():
    images = CONTROLS["noise"][1](source((1, 20, 20)))
    density, peak = (images > 0).flatten(1).double().mean(dim=1), images.flatten(1).amax(dim=1)
    assert density.min() < 0.02
    assert density.max() == 1
    assert ((density > 0.9) & (peak < 0.06)).any()
    assert ((density < 0.03) & (peak == 1)).any()


def test_shuffling_keeps_the_pixels_and_moves_every_block():
    made = source((3, 8, 8))
    for shuffle in (pixels_shuffled, blocks_shuffled):
        images = shuffle(made)
        originals = {tuple(image.flatten().sort().values.tolist()): image for image in made.real.images}
        for image in images[:20]:
            original = originals[tuple(image.flatten().sort().values.tolist())]
            assert not torch.equal(image, original)
    tiles, before = (x.unfold(1, 2, 2).unfold(2, 2, 2).flatten(3) for x in (image, original))
    assert not (tiles == before).all(dim=3).all(dim=0).any()


def test_photographs_are_the_real_ones():
    images = photographs(source((3, 16, 16)))
    assert images.std() > 0.1
    assert (images[:, 0] != images[:, 2]).double().mean() > 0.5
    grey = photographs(source((1, 16, 16)))
    assert len(grey.unique(dim=0)) > 0.9 * N


def test_small_budgets_join_the_next():
    fooling = {k: torch.zeros(n, 1, 8, 8) for k, n in ((40, 70), (5, 1), (10, 30), (20, 40), (24, 3))}
    assert {name: len(images) for name, images in by_budget(fooling).items()} == {
        "fools_control_k=20": 71,
        "fools_control_k=40": 73,
    }
