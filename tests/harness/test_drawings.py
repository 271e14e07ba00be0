"""Simple drawings: each kind is drawn on any paper, sparse, and by the generator alone."""

from __future__ import annotations

import pytest
import torch

from bench.harness.drawings import DRAWINGS, FONT, VALUES, Paper, draw
from bench.types import lit_pixels

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 9, 7), (1, 1, 4)]
N = 40


def made(name, shape, k, seed=0):
    return draw(name, shape, k, N, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_are_sparse_images_of_one_value(name, shape):
    k = max(1, shape[1] * shape[2] * 3 // 8)
    images = made(name, shape, k)
    assert images.shape[1:] == shape
    assert len(images) <= N
    assert ((lit_pixels(images) >= 1) & (lit_pixels(images) <= k)).all()
    assert all(len(set(image[image > 0].tolist())) == 1 for image in images)
    assert set(images.unique().tolist()) <= {0.0, *VALUES}
    assert (images == images[:, :1]).all()


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_many_differ_and_lie_everywhere(name, shape):
    images = made(name, shape, shape[1] * shape[2] // 2)
    assert len({image.numpy().tobytes() for image in images}) > N / 2
    assert ((images > 0).float().mean(dim=(0, 1)) > 0).float().mean() > 0.5


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_generator_decides_and_no_other_chance(name):
    torch.manual_seed(1)
    first = made(name, (1, 8, 8), 24)
    torch.manual_seed(2)
    assert torch.equal(first, made(name, (1, 8, 8), 24))
    assert not torch.equal(first, made(name, (1, 8, 8), 24, seed=1))


def test_a_frame_is_hollow_and_a_letter_is_one_of_the_font():
    for image in made("frames", (1, 28, 28), 300):
        rows, columns = (image[0] > 0).nonzero(as_tuple=True)
        box = image[0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (torch.cat([box[0], box[-1], box[:, 0], box[:, -1]]) > 0).all()
    on = Paper(N, 7, 5, torch.Generator().manual_seed(0))
    font = {rows.replace(" ", "") for rows in FONT.values()}
    seen = {"".join(map(str, image.int().flatten().tolist())) for image in DRAWINGS["letters"](on)}
    assert seen <= font
    assert len(seen) > len(font) / 2
