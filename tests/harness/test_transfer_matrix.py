"""Every round's images on every round's network, on a stand-in session whose networks are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.errors import NonFiniteError
from bench.harness import transfer as module
from bench.harness.history import Past
from bench.harness.transfer import transfer
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified
from tests.harness.stand_in import Store

SPEC = ImageSpec((1, 1, 4), 4, ("a", "b"))
FOOLING, UNCONFIDENT = OUTCOMES.index(Outcome.FOOLING), OUTCOMES.index(Outcome.UNCONFIDENT)


class Knows(nn.Module):
    """Detects images of the rounds it knows: each lights the pixel of its round."""

    def __init__(self, *rounds, fakes=1):
        super().__init__()
        self.rounds, self.fakes = list(rounds), fakes

    def forward(self, images):
        known = images.flatten(1)[:, self.rounds].sum(1) if self.rounds else torch.zeros(len(images))
        if not self.fakes:  # unsure of what it knows, sure of the rest
            return torch.stack([9.0 * (known == 0), torch.zeros(len(images))], dim=1)
        return torch.stack([torch.ones(len(images)), torch.zeros(len(images)), 9.0 * known], dim=1)


def made(round_, *outcomes):
    n = len(outcomes)
    images = torch.zeros(n, 1, 1, 4)
    images[..., round_] = 1
    ones = torch.ones(n)
    return Verified(images, torch.arange(n) % 2, ones, ones.long(), ones.double(), torch.tensor(outcomes).long())


def images(round_, taught=2, heldout=1):
    """Also one fooling image that was not taught, and failures, none of which counts."""
    trained = made(round_, *[FOOLING] * (taught + 1), UNCONFIDENT)
    was_taught = torch.tensor([True] * taught + [False, True])
    held = made(round_, *[FOOLING] * heldout, UNCONFIDENT)
    fooling = [trained[trained.is_(Outcome.FOOLING) & was_taught], held[held.is_(Outcome.FOOLING)]]
    return SimpleNamespace(fooling_taught=fooling[0], fooling_heldout=fooling[1])


def session(history, selected=None, places=(), has_history=True, attacks=("l1_sparse", "masked", "own")):
    selected = len(history) - 1 if selected is None else selected
    found = dict(places)

    def verdict_part(place, attack):
        if isinstance(found[place, attack], Exception):
            raise found[place, attack]
        return found[place, attack]

    final = history[selected].network
    return SimpleNamespace(
        store=Store(),
        say=lambda text: None,
        spec=SPEC,
        settings=SimpleNamespace(seed=0, attacks=attacks),
        processes=("l1_sparse",),
        has_history=has_history,
        history=history,
        rounds_before_selected=lambda: history[:selected],
        threat_of=lambda network: ThreatModel((0.9, 0.9), 4),
        final=final,
        final_threat=ThreatModel((0.9, 0.9), 4),
        gallery=SimpleNamespace(verdict_part=verdict_part),
    )


def places(*rounds):
    """One image a place and attack, of the place's round."""
    return {(f"round-{index:03d}", name): made(index, FOOLING) for index in rounds for name in ("masked", "own")}


HISTORY = [Past(0, Knows(), None), Past(1, Knows(1), images(1)), Past(2, Knows(2), images(2, taught=1, heldout=3))]


def test_each_cell_is_one_rounds_images_on_one_network():
    found = transfer(session(HISTORY, places=places(0, 1)))
    assert found.networks == (0, 1, 2)
    assert [(row.index, row.n, row.taught, row.detected) for row in found.rows] == [
        (1, 3, 2, (0, 3, 0)),  # the network of round 2 has forgotten them
        (2, 4, 1, (0, 0, 4)),
    ]
    known, unknown = (torch.tensor([1.0, 0.0, sure]).softmax(0)[2].item() for sure in (9.0, 0.0))
    assert found.rows[0].fake_probability == pytest.approx((unknown, known, unknown))


def test_without_fake_classes_what_no_class_claims_with_p_is_detected():
    history = [Past(0, Knows(fakes=0), None), Past(1, Knows(1, fakes=0), images(1))]
    (row,) = transfer(session(history, places=places(0))).rows
    assert row.detected == (0, 3)
    assert row.fake_probability[1] == pytest.approx(0.5)


def test_unused_attacks_on_past_networks_are_counted_one_network_at_a_time():
    found = transfer(session(HISTORY, places=places(0, 1) | {("round-001", "own"): made(2, FOOLING, FOOLING)}))
    assert found.past == (0, 1)
    rows = {row.attack: (row.n, row.detected, row.total.successes, row.total.n) for row in found.attacks}
    assert rows == {"masked": ((1, 1), (0, 0), 0, 2), "own": ((1, 2), (0, 2), 2, 3)}


def test_an_attack_without_images_or_with_nan_has_no_figure_and_stops_nothing():
    none = {("round-001", "masked"): made(1), ("round-000", "masked"): made(0), ("round-000", "own"): NonFiniteError()}
    (row,) = transfer(session(HISTORY, places=places(0, 1) | none)).attacks
    assert (row.attack, row.n, row.total.observed) == ("masked", (0, 0), None)


def test_rounds_after_the_selected_one_are_columns_and_rows_but_no_past():
    found = transfer(session(HISTORY, selected=1, places=places(0)))
    assert (found.networks, found.past) == ((0, 1, 2), (0,))
    assert len(found.rows) == 2


@pytest.mark.parametrize("run", [session(HISTORY[:1]), session(HISTORY, has_history=False)])
def test_there_is_none_without_two_rounds(run):
    assert transfer(run) is None


def test_a_network_that_comes_to_nan_leaves_no_matrix():
    class Broken(Knows):
        def forward(self, images):
            return super().forward(images) * torch.nan

    run = session([*HISTORY[:2], Past(2, Broken(), None)], places=places(0, 1))
    assert transfer(run) is None
    assert not run.store.kept


def test_many_images_are_drawn_from(monkeypatch):
    monkeypatch.setattr(module, "MOST_IMAGES", 10)
    history = [HISTORY[0], Past(1, Knows(1), images(1, taught=30, heldout=10))]
    one, again = (transfer(session(history, places=places(0))).rows[0] for _ in range(2))
    assert one == again
    assert one.n == 10
    assert 0 < one.taught < 10


def test_it_is_measured_once():
    run = session(HISTORY, places=places(0, 1))
    first = transfer(run)
    run.history[0] = Past(0, Knows(1, 2), None)
    assert transfer(run) == first
    assert "transfer.json" in run.store.kept
