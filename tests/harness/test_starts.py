"""What attacks are given to start from, on a stand-in session whose images are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.errors import NonFiniteError
from bench.harness.registry import ATTACKS, STARTS, import_path
from bench.harness.starts import real_images, survivors
from bench.materials.split import Split
from bench.types import ImageSpec
from bench.verify import Verified

SPEC = ImageSpec((1, 1, 2), 10, ("a", "b"))
TARGETS = torch.tensor([0, 1, 0, 1])


class Sum(nn.Module):
    """Class a from the first pixel, class b from the second."""

    def forward(self, images):
        return images.flatten(1) * 9


def made(*first_pixels, label=0, score=2.0):
    n = len(first_pixels)
    images = torch.zeros(n, 1, 1, 2)
    images[:, 0, 0, 0] = torch.tensor(first_pixels)
    number = torch.zeros(n)
    return Verified(images, torch.full((n,), label), number, number, torch.full((n,), score).double(), number.long())


class Gallery:
    def __init__(self, **found):
        self.found = found

    def images(self, place, attack):
        found = self.found[place.replace("-", "_")]
        if found is None:
            raise NonFiniteError("NaN")
        return found


def session(gallery, history=(), selected=2):
    real = Split(torch.arange(8).view(4, 1, 1, 2) / 10, torch.tensor([0, 0, 1, 1]))
    return SimpleNamespace(
        spec=SPEC,
        settings=SimpleNamespace(attacks=("one",), seed=0),
        gallery=gallery,
        history=history,
        selected=selected,
        lab=SimpleNamespace(measuring_judge=SimpleNamespace(strict=1.0)),
        data=SimpleNamespace(b_train=real),
        network_at=lambda place: Sum(),
    )


def first_pixels(starts):
    return [[round(float(image[0, 0, 0]), 3) for image in each] for each in starts]


def past(index, train, heldout):
    return SimpleNamespace(index=index, images=SimpleNamespace(made=train, heldout=heldout) if train else None)


def test_the_likeliest_come_first_each_target_another_and_each_restart_goes_on():
    starts = survivors(session(Gallery(network_b=made(0.1, 0.4, 0.3, 0.2))), "control", TARGETS, 2)
    assert first_pixels(starts) == [[0.4, 0, 0.3, 0], [0.2, 0, 0.1, 0]]


def test_fewer_images_than_targets_are_used_again():
    starts = survivors(session(Gallery(network_b=made(0.1, 0.4))), "control", TARGETS, 2)
    assert first_pixels(starts) == [[0.4, 0, 0.1, 0], [0.4, 0, 0.1, 0]]


def test_what_the_judge_takes_for_real_is_left_out():
    starts = survivors(session(Gallery(network_b=made(0.4, score=1.0))), "control", TARGETS, 1)
    assert not starts.any()


def test_network_b_is_started_from_what_fools_the_control():
    starts = survivors(session(Gallery(control=made(0.7))), "network-b", TARGETS[:1], 1)
    assert first_pixels(starts) == [[0.7]]


@pytest.mark.parametrize(
    ("place", "best"), [("final", 0.8), ("final-real", 0.8), ("round-001", 0.6), ("round-000", 0.1)]
)
def test_rounds_give_what_was_made_before_the_network_they_attack(place, best):
    history = [
        past(0, None, None),
        past(1, made(0.5), made(0.6)),
        past(2, made(0.7), made(0.8)),
        past(3, made(1.0), made(1.0)),
    ]
    starts = survivors(session(Gallery(network_b=made(0.1)), history), place, TARGETS[:1], 1)
    assert first_pixels(starts) == [[best]]


def test_the_undefended_networks_see_no_rounds():
    history = [past(1, made(0.9), made(0.9))]
    starts = survivors(session(Gallery(network_b=made(0.1)), history), "control", TARGETS[:1], 1)
    assert first_pixels(starts) == [[0.1]]


def test_an_attack_that_came_to_nan_gives_nothing():
    assert not survivors(session(Gallery(network_b=None)), "control", TARGETS, 1).any()


def test_no_attack_starts_from_what_started_attacks_made(monkeypatch):
    monkeypatch.setitem(ATTACKS.started, "one", "survivors")
    assert not survivors(session(Gallery(network_b=made(0.4))), "control", TARGETS, 1).any()


def test_real_images_are_of_another_class_and_follow_from_the_seed():
    starts = real_images(session(Gallery()), "final", TARGETS, 3)
    assert starts.shape == (3, 4, *SPEC.shape)
    values = starts[:, :, 0, 0, 0]
    assert (values[:, TARGETS == 0] >= 0.4).all()  # images of class b
    assert (values[:, TARGETS == 1] <= 0.2).all()
    assert torch.equal(starts, real_images(session(Gallery()), "final", TARGETS, 3))


@pytest.mark.parametrize("kind", STARTS)
def test_every_kind_can_be_found(kind):
    assert callable(import_path(STARTS[kind], "start"))
