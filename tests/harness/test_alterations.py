"""Real images altered: each alteration is what its table says of it."""

from __future__ import annotations

import pytest
import torch

from bench.harness.alterations import LESS, OTHERWISE, Material

ALL = [pytest.param(alter, id=name) for name, alter in (LESS | OTHERWISE).items()]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 9, 7), (1, 1, 4)]


def material(shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(6, *shape, generator=draw) * (torch.rand(6, 1, *shape[1:], generator=draw) < 0.5)
    images[0] = 0
    return Material(images, images.flip(0), draw)


@pytest.mark.parametrize("alter", ALL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_are_images_of_the_same_shape_and_the_originals_are_left_alone(alter, shape):
    real = material(shape)
    before = real.images.clone()
    made = alter(real)
    assert made.shape == before.shape
    assert torch.isfinite(made).all()
    assert ((made >= 0) & (made <= 1)).all()
    assert torch.equal(real.images, before)


@pytest.mark.parametrize("alter", ALL)
def test_the_generator_decides_and_no_other_chance(alter):
    one, other = material((1, 8, 8)), material((1, 8, 8))
    torch.manual_seed(1)
    made = alter(one)
    torch.manual_seed(2)
    assert torch.equal(made, alter(other))


@pytest.mark.parametrize("alter", [pytest.param(alter, id=name) for name, alter in LESS.items()])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_takes_light_away_adds_none(alter, shape):
    """So that it counts for the image's own class, too."""
    real = material(shape)
    assert (alter(real) <= real.images).all()


@pytest.mark.parametrize("alter", [pytest.param(alter, id=name) for name, alter in OTHERWISE.items()])
def test_what_adds_or_moves_light_is_in_the_other_table(alter):
    real = material((1, 8, 8))
    assert (alter(real) > real.images).any()


def test_they_do_what_they_are_called():
    real = Material(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.Generator().manual_seed(0))
    real.images[0, 0] = torch.tensor([[0, 0, 0, 0.5], [0, 0.25, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0.125]])
    lit = {name: alter(real)[0, 0].nonzero().tolist() for name, alter in (LESS | OTHERWISE).items()}
    assert lit["top half"] == [[0, 3], [1, 1]]
    assert lit["left half"] == [[1, 1], [3, 0]]
    assert lit["middle"] == [[1, 1]]
    assert lit["every other row"] == [[0, 3]]
    assert lit["every other column"] == [[3, 0]]
    assert lit["faint parts gone"] == lit["of one value"] == [[0, 3], [1, 1], [3, 0]]
    assert lit["moved right"] == [[0, 0], [1, 2], [3, 0], [3, 1]]
    assert lit["mirrored"] == [[0, 0], [1, 2], [3, 0], [3, 3]]
    assert lit["half size"] == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert lit["eroded"] == []
    assert lit["outline"] == lit["what two have in common"] == real.images[0, 0].nonzero().tolist()
    assert float(LESS["dimmed to a quarter"](real).max()) == 0.125
    assert float(OTHERWISE["brightest"](real).max()) == 1
