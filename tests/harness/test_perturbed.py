"""Real images with fooling images added, on a stand-in session whose networks and images are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.harness.perturbed import STRENGTHS, added_to_real, draw_pairs, perturbed
from bench.materials.split import Split
from bench.types import ImageSpec, Outcome
from bench.verify import OUTCOMES, Verified
from tests.harness.stand_in import Store

SPEC = ImageSpec((1, 1, 2), 255, ("left", "right"))
FOOLING, IN_DISTRIBUTION, UNCONFIDENT = (
    OUTCOMES.index(one) for one in (Outcome.FOOLING, Outcome.IN_DISTRIBUTION, Outcome.UNCONFIDENT)
)


class Brighter(nn.Module):
    """Says which of the two pixels is brighter, surely where they differ by more than `least`."""

    def __init__(self, least: float):
        super().__init__()
        self.least = least

    def forward(self, images):
        left, right = images.flatten(1).unbind(dim=1)
        sure = ((left - right).abs() > self.least) * 10.0 + 0.1
        return torch.stack([left - right, right - left], dim=1).sign() * sure[:, None]


class Broken(Brighter):
    """NaN where both pixels are lit."""

    def forward(self, images):
        both = (images > 0).all(dim=3).flatten(1)
        return torch.where(both, torch.full_like(both, torch.nan, dtype=torch.float), super().forward(images))


class Wrong(nn.Module):
    """Takes everything for the right class."""

    def forward(self, images):
        return torch.tensor([0.0, 1.0]).repeat(len(images), 1)


def lit(left, right):
    """One image a pair of pixels."""
    return torch.tensor([left, right]).T.reshape(-1, 1, 1, 2)


def made(outcomes):
    """Images of alternating classes at full brightness; blank where they are unconfident."""
    n, kind = len(outcomes), torch.tensor(outcomes)
    targets = torch.arange(n) % 2
    images = lit((1.0 - targets).tolist(), targets.float().tolist()) * (kind != UNCONFIDENT).view(-1, 1, 1, 1)
    return Verified(images, targets, torch.ones(n), torch.ones(n).long(), torch.ones(n).double(), kind)


def session(final, control=None, on_control=(FOOLING,) * 4, on_final=(UNCONFIDENT,), images=40, seed=0):
    """Real images have one pixel at 0.3: a fooling image of the other class is ahead from strength 0.4 on."""
    labels = torch.arange(20) % 2
    real = Split(lit((0.3 * (1 - labels)).tolist(), (0.3 * labels).tolist()), labels)
    return SimpleNamespace(
        store=Store(),
        say=lambda text: None,
        settings=SimpleNamespace(plan=SimpleNamespace(images=images), seed=seed, p=0.9, attacks=("l1_sparse",)),
        spec=SPEC,
        data=SimpleNamespace(test=real),
        final=final,
        control=control or Brighter(0.0),
        gallery=SimpleNamespace(
            reference="l1_sparse",
            images=lambda place, attack: made(on_control),
            finite_images=lambda place: {"masked": made(on_final)},
        ),
    )


def counts(found, part, series="control"):
    return [getattr(row, part).successes for row in found.rows if row.series == series]


def test_the_images_with_something_added_are_those_that_are_measured():
    asked = session(Brighter(0.18))
    pairs = draw_pairs(asked, "control", *(getattr(made([FOOLING] * 4), name) for name in ("images", "targets")))
    shown = list(added_to_real(asked))
    assert len(shown) == len(STRENGTHS)
    for strength, (images, labels) in zip(STRENGTHS, shown, strict=True):
        assert torch.equal(images, SPEC.round(pairs.real + strength * pairs.fooling))
        assert torch.equal(labels, pairs.labels)
    assert not list(added_to_real(session(Brighter(0.18), on_control=(UNCONFIDENT,) * 4)))


def test_each_network_turns_where_the_added_image_outweighs_the_real_one():
    found = perturbed(session(Brighter(0.18)))
    assert [row.strength for row in found.rows] == list(STRENGTHS)
    assert counts(found, "control") == [0, 0, 0, 40, 40]  # 0.4 - 0.3 > 0: the control is sure at once
    assert counts(found, "turned") == [0, 0, 0, 0, 40]  # this one only where they differ by more than 0.18
    assert counts(found, "kept") == [40, 40, counts(found, "kept")[2], 0, 0]
    assert counts(found, "control_kept")[3:] == [0, 0]
    assert {row.turned.n for row in found.rows} == {40}
    assert "at strength 0.5, this model gives 40 of 40 the added image's class with p 0.9 or more" in found.reason


def test_what_is_added_is_confident_and_sparse_on_the_control_and_fools_the_final_network():
    found = perturbed(session(Brighter(0.0), on_control=(IN_DISTRIBUTION, UNCONFIDENT), on_final=(FOOLING,)))
    assert counts(found, "turned")[-1] == counts(found, "turned", "final")[-1] == 40  # nothing blank was added
    assert "images that fooled this model added" in found.reason
    assert counts(perturbed(session(Brighter(0.0), on_final=(IN_DISTRIBUTION,))), "turned", "final") == []


def test_pairs_are_of_two_classes_right_reproducible_and_independent_of_what_the_network_gets_right():
    def drawn(final, seed=0):
        fooling = made((FOOLING,) * 6)
        return draw_pairs(session(final, images=50, seed=seed), "control", fooling.images, fooling.targets)

    one, again, other = drawn(Brighter(0.0)), drawn(Brighter(0.0)), drawn(Brighter(0.0), seed=1)
    assert len(one.labels) == 50
    assert (one.labels != one.targets).all()
    assert torch.equal(one.real, again.real)
    assert torch.equal(one.targets, again.targets)
    assert not torch.equal(one.labels, other.labels)
    half = drawn(Wrong())  # right for one class: the other class's pairs are left out, the rest stay as they were
    assert (half.labels == 1).all()
    assert len(half.labels) == int((one.labels == 1).sum())
    assert torch.equal(half.fooling, one.fooling[one.labels == 1])


def test_every_added_image_has_its_turn():
    fooling = made((FOOLING,) * 6)
    pairs = draw_pairs(session(Brighter(0.0), images=6), "control", torch.arange(6.0).view(6, 1, 1, 1), fooling.targets)
    assert sorted(pairs.fooling.flatten().tolist()) == list(range(6))


@pytest.mark.parametrize("which", ["final", "control"])
def test_what_is_not_finite_was_not_measured(which):
    networks = {"final": Brighter(0.0), "control": Brighter(0.0)} | {which: Broken(0.0)}
    found = perturbed(session(**networks))
    assert found.rows == ()
    assert found.reason.startswith("Not measured: the network's logits are not finite")


def test_nothing_to_add_was_not_measured():
    found = perturbed(session(Brighter(0.0), on_control=(UNCONFIDENT,) * 3))
    assert found.rows == ()
    assert found.reason.startswith("Not measured: l1_sparse reached nothing on the undefended control")


def test_it_is_measured_once():
    asked = session(Brighter(0.0))
    first = perturbed(asked)
    asked.final = Wrong()
    assert perturbed(asked) == first
