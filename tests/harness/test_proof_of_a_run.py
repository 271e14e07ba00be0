"""What a run says is proved, on a stand-in session whose network is known."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.harness.proof import ProofViolatedError, proof, sparsest_real
from bench.materials.split import Split
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified
from tests.harness.stand_in import Store

SPEC = ImageSpec((1, 2, 4), 4, ("a", "b"))


class Own(nn.Module):
    """A layer that nobody knows."""

    def forward(self, images):
        return images.flatten(1)[:, :2]


def summing(weight: float) -> nn.Module:
    """Class a gains `weight` a lit pixel over class b: k of them give sigmoid(weight * k)."""
    layer = nn.Linear(8, 2)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0] = weight
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)


def session(network, fooled_from=None, p=0.9, known=()):
    lit = torch.zeros(3, 1, 2, 4)
    for row in range(3):
        lit[row, 0, 0, : row + 2] = 1  # two, three and four lit pixels
    half = Split(lit, torch.zeros(3).long())
    return SimpleNamespace(
        store=Store(),
        say=lambda text: None,
        final=network,
        spec=SPEC,
        k=4,
        data=SimpleNamespace(a_train=half[1:], b_train=half),
        final_threat=ThreatModel((p, p), 4),
        frontier=lambda: SimpleNamespace(fooled_from=fooled_from),
        settings=SimpleNamespace(attacks=("own",)),
        known=SimpleNamespace(of=lambda attack: confident(known), once_more=lambda attack: [confident(())]),
    )


def confident(pixels):
    """Images with so many lit pixels that reached p."""
    n, none = len(pixels), torch.zeros(len(pixels))
    outcome = torch.full((n,), OUTCOMES.index(Outcome.IN_DISTRIBUTION))
    return Verified(torch.zeros(n, *SPEC.shape), none.long(), none, torch.tensor(pixels).long(), none, outcome)


@pytest.mark.parametrize(("pixels", "holds"), [((3, 4), True), ((3, 2), False)])
def test_an_image_from_elsewhere_that_is_proved_not_to_exist_stops_the_run(pixels, holds):
    with nullcontext() if holds else pytest.raises(ProofViolatedError, match="one with 2"):
        proof(session(summing(1.0), known=pixels))


def test_how_far_a_linear_network_is_proved():
    found = proof(session(summing(1.0)))  # sigmoid(2) = 0.88, sigmoid(3) = 0.95
    assert found.proved_to == 2
    assert {row.k: round(row.linear, 2) for row in found.rows} == {0: 0.5, 1: 0.73, 2: 0.88, 3: 0.95, 4: 0.98}
    assert found.reason == (
        "No image with at most 2 lit pixels reaches p for any class; the sparsest real training image has 2."
    )


def test_each_class_is_held_to_its_own_operating_point():
    found = proof(session(summing(1.0), p=0.7))
    assert found.proved_to == 0
    assert found.reason.startswith("The blank image, and no other, is proved not to reach p")


def test_one_pixel_is_no_pixels():
    assert "at most 1 lit pixel reaches" in proof(session(summing(1.0), p=0.8)).reason  # sigmoid(1) = 0.73


def test_nothing_is_proved_of_a_network_that_takes_the_blank_image_for_a_class():
    found = proof(session(summing(0.0), p=0.4))
    assert found.proved_to is None
    assert "Nothing is proved" in found.reason


def test_a_layer_that_is_not_known_is_no_proof():
    found = proof(session(Own()))
    assert (found.proved_to, found.rows) == (None, ())
    assert found.reason == "No proof: Own is not supported."


def test_weights_that_are_not_finite_are_no_proof():
    assert proof(session(summing(float("nan")))).reason.startswith("No proof: ")


@pytest.mark.parametrize("fooled", [0, 1, 2])
def test_an_image_that_is_proved_not_to_exist_stops_the_run(fooled):
    with pytest.raises(ProofViolatedError, match="internal error: no image with at most 2 lit pixels"):
        proof(session(summing(1.0), fooled_from=fooled))


def test_an_image_with_one_pixel_more_than_is_proved_does_not():
    assert proof(session(summing(1.0), fooled_from=3)).proved_to == 2


def test_a_stored_proof_is_compared_again():
    stand_in = session(summing(1.0))
    proof(stand_in)
    stand_in.frontier = lambda: SimpleNamespace(fooled_from=1)
    with pytest.raises(ProofViolatedError):
        proof(stand_in)


def test_no_frontier_is_nothing_to_compare_with():
    stand_in = session(summing(1.0))
    stand_in.frontier = lambda: None
    assert proof(stand_in).proved_to == 2


def test_the_sparsest_real_image_is_looked_for_in_both_halves():
    assert sparsest_real(session(Own()).data) == 2
