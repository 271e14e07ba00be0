"""What a run made on other networks or for other classes, shown to the final network."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bench.errors import NonFiniteError
from bench.harness import known as module
from bench.harness.beside import places_for
from bench.harness.history import Past
from bench.harness.known import Known
from bench.harness.step import Made
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified

SPEC = ImageSpec((1, 1, 4), 255, ("left", "right"))
UNCONFIDENT = OUTCOMES.index(Outcome.UNCONFIDENT)


class Ends(nn.Module):
    """Sure of the class at whose end of the row a pixel is lit."""

    def forward(self, images: Tensor) -> Tensor:
        logits = 20 * torch.stack([images[:, 0, 0, 0], images[:, 0, 0, 3]], dim=1)
        return nn.functional.pad(logits, (0, 1), value=9.0)


class NothingIsReal:
    working, strict = 0.5, 1.5

    def score(self, images: Tensor) -> Tensor:
        return torch.full((len(images),), 2.0).double()


NUMBER = itertools.count()


def rows(*lit, target=0):
    """Images of one row each, no two alike, made for one class on another network, where they came to nothing."""
    images = torch.zeros(len(lit), *SPEC.shape)
    for image, where in zip(images, lit, strict=True):
        image[0, 0, list(where)] = 1 - next(NUMBER) / 1000
    n = len(lit)
    none = torch.zeros(n)
    return Verified(images, torch.full((n,), target), none, none, none.double(), torch.full((n,), UNCONFIDENT))


NOTHING = rows()


def session(
    made=None, sweep=None, rounds=(), processes=("l1_sparse",), selected=1, drawn=(), fakes=1, cascade=None, thin=None
):
    """`made`: (place, attack) -> images. What it has not is no business of `Known`'s."""
    networks = [Ends() for _ in range(3)]
    history = [Past(0, networks[0], None), *(Past(i + 1, networks[i + 1], one) for i, one in enumerate(rounds))]

    def images(place, attack):
        found = (made or {}).get((place, attack), NOTHING)
        if isinstance(found, NonFiniteError):
            raise found
        return found

    return SimpleNamespace(
        settings=SimpleNamespace(attacks=("l1_sparse", "masked")),
        processes=processes,
        gallery=SimpleNamespace(
            reference="l1_sparse",
            images=images,
            sweep=lambda place, attack: {1: (sweep or {}).get(place, NOTHING)},
            sweep_steps=[1],
            at_k=lambda place, attack, k: images(place, "sweep") if sweep is None else sweep.get(place, NOTHING),
            finite_cascade=lambda: cascade or {},
            or_thinned=thin or (lambda folder, attack, found: found),
        ),
        selected=selected,
        has_history=True,
        evolution=SimpleNamespace(
            steps=lambda: enumerate(drawn), step=lambda index: dict(enumerate(drawn)).get(index, NOTHING)
        ),
        final_fakes=fakes,
        history=history,
        rounds_before_selected=lambda: history[:selected],
        final=Ends(),
        final_threat=ThreatModel((0.9, 0.9), 2),
        spec=SPEC,
        lab=SimpleNamespace(measuring_judge=NothingIsReal()),
    )


def taught(made, heldout, attack="l1_sparse"):
    return SimpleNamespace(made=made, heldout=heldout, attack=attack)


def test_an_image_is_claimed_by_the_class_that_the_final_network_is_sure_of():
    """It was made for another; what it is not sure of is left out, and what is dense may still lose pixels."""
    found = Known(session({("control", "masked"): rows([3], [1], [0], [1, 2, 3], target=0)})).of("masked")
    assert found.targets.tolist() == [1, 0, 1]
    assert found.images.flatten(1).argmax(dim=1).tolist() == [3, 0, 1]
    assert (found.counts()["fooling"], found.counts()["dense"]) == (2, 1)


def test_what_the_final_network_is_sure_of_is_thinned():
    def thin(folder, attack, found):
        heard.append((folder, attack, len(found.targets)))
        return rows([0])

    heard = []
    known = Known(session({("control", "masked"): rows([3])}, sweep={"final": rows([0], [0])}, thin=thin))
    assert len(known.of("masked").targets) == 1
    assert [len(found.targets) for found in known.once_more("l1_sparse")] == [2, 1]
    assert heard == [("thinned-known", "masked", 1), ("thinned-sweep-1", "l1_sparse", 2)]


def test_what_is_made_at_a_smaller_k_is_judged_at_the_runs_own():
    """Two pixels are dense at k = 1 and fool at 2."""
    images = rows([0, 1])
    images.pixels[:], images.probability[:], images.score[:] = 2, 1.0, 2.0
    (found, _) = Known(session(sweep={"final": images})).once_more("l1_sparse")
    assert found.counts()["fooling"] == 1


def test_real_images_with_fooling_ones_added_are_shown_for_every_class_but_the_real_one(monkeypatch):
    added = (rows([0], [3]).images, torch.tensor([0, 0]))
    monkeypatch.setattr(module, "added_to_real", lambda session: iter([added]))
    assert Known(session()).of("l1_sparse").targets.tolist() == [1]
    assert not len(Known(session()).of("masked").targets)


def test_real_images_that_were_altered_are_shown_but_for_the_class_that_is_not_asked_about(monkeypatch):
    altered = [(rows([0], [3]).images, torch.tensor([-1, -1])), (rows([0], [3]).images, torch.tensor([0, 0]))]
    monkeypatch.setattr(module, "altered_real", lambda session: iter(altered))
    assert Known(session()).of("l1_sparse").targets.tolist() == [0, 1, 1]
    assert not len(Known(session()).of("masked").targets)


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch):
    """Real images are no business of most tests here."""
    monkeypatch.setattr(module, "added_to_real", lambda session: iter(()))
    monkeypatch.setattr(module, "altered_real", lambda session: iter(()))
    monkeypatch.setattr(module, "drawn", lambda session: iter(()))


def test_drawings_are_shown_for_every_class(monkeypatch):
    monkeypatch.setattr(module, "drawn", lambda session: iter([rows([0]).images, rows([3], [0, 3]).images]))
    assert Known(session()).of("l1_sparse").targets.tolist() == [0, 1]
    assert not len(Known(session()).of("masked").targets)


@pytest.mark.parametrize(
    ("place", "attack", "shown"),
    [
        *((place, "masked", True) for place in ("control", "network-b", "round-000")),
        *((place, "l1_sparse", True) for place in ("control", "network-b", "final-real")),
        ("round-000", "l1_sparse", False),  # training used it: nobody asks for more of its images than the rounds have
        ("round-001", "masked", False),  # the certified network is the cascade's
    ],
)
def test_every_place_that_a_criterion_looks_at_is_shown(place, attack, shown):
    known = Known(session({(place, attack): rows([0])}))
    assert len(known.of(attack).targets) == shown
    assert not len(known.of("l1_sparse" if attack == "masked" else "masked").targets)


def test_what_every_round_made_and_held_out_is_shown_after_the_certified_one_too():
    rounds = [taught(rows([0]), rows([3])), taught(rows([0], [0]), rows([3], [3]))]
    assert len(Known(session(rounds=rounds)).of("l1_sparse").targets) == 6
    assert len(Known(session(rounds=rounds)).of("masked").targets) == 0


def test_an_attack_of_training_that_is_not_in_the_selection_goes_with_the_one_that_stands_for_all():
    rounds = [taught(rows([0]), rows([3]), attack="own")]
    known = Known(session({("network-b", "own"): rows([0])}, rounds=rounds, processes=("own",)))
    assert len(known.of("l1_sparse").targets) == 3
    assert len(known.of("masked").targets) == 0


def test_a_network_without_fake_classes_has_none_to_cut_off():
    assert not len(Known(session({("final-real", "l1_sparse"): rows([0])}, fakes=0)).of("l1_sparse").targets)


def test_what_the_evolution_drew_is_shown():
    """On the certified round, 1, an image was judged for its own class, 0, before."""
    asked = session(drawn=[rows([0]), rows([0], [3]), rows([3])], rounds=[taught(NOTHING, NOTHING)])
    assert sorted(Known(asked).of("l1_sparse").targets.tolist()) == [0, 1, 1]
    assert len(Known(session(drawn=[rows([0])])).of("masked").targets) == 0


def test_what_was_made_on_the_final_network_is_shown_for_every_class_but_its_own():
    raw = rows([0], [3], target=0)
    made = Made(torch.arange(2), raw, 0, 0, beside=(raw, rows([3], target=0)))
    asked = session(cascade={"masked": made}, sweep={"final": rows([0], [3], [3], target=0)})
    assert Known(asked).of("masked").targets.tolist() == [1, 1]
    assert Known(asked).of("l1_sparse").targets.tolist() == [1, 1]


def test_an_image_that_comes_from_two_places_is_one():
    found = rows([0], [3])
    made = {("control", "masked"): found, ("network-b", "masked"): found, ("round-000", "masked"): rows([0])}
    assert sorted(Known(session(made)).of("masked").targets.tolist()) == [0, 0, 1]


def test_the_judges_controls_at_smaller_k_are_shown():
    known = Known(session(sweep={"control": rows([0])}))
    assert len(known.of("l1_sparse").targets) == 1
    assert len(known.of("masked").targets) == 0


def test_another_networks_nan_is_no_fault_of_this_one_and_its_own_is():
    made = {("network-b", "masked"): NonFiniteError("NaN"), ("control", "masked"): rows([0])}
    asked = session(made)
    assert len(Known(asked).of("masked").targets) == 1
    asked.final = lambda images: torch.full((len(images), 3), torch.nan)
    asked.final.eval, asked.final.parameters = (lambda: None), (lambda: iter(()))
    known = Known(asked)
    assert not len(known.of("masked").targets)
    assert list(known.broken) == ["What masked made"]


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (("final-real", "l1_sparse"), "What l1_sparse made on the real classes alone"),
        (("final", "sweep"), "What l1_sparse made for the sweep-1"),
    ],
)
def test_nan_of_one_piece_on_the_final_network_is_named_and_hides_no_other(made, what):
    known = Known(session({made: NonFiniteError("NaN"), ("control", "l1_sparse"): rows([0])}))
    assert len(known.of("l1_sparse").targets) == 1
    assert known.broken == {what: "NaN"}


def test_nan_of_the_certified_round_in_the_evolution_is_named():
    asked = session(drawn=[rows([0])], rounds=[taught(NOTHING, NOTHING)])

    def step(index):
        raise NonFiniteError("NaN")

    asked.evolution.step = step
    known = Known(asked)
    assert len(known.of("l1_sparse").targets) == 1
    assert known.broken == {"What l1_sparse made for the evolution": "NaN"}


def outcomes(*pairs):
    """(class, outcome) for each image."""
    found = rows(*([0] for _ in pairs))
    found.targets[:] = torch.tensor([label for label, _ in pairs])
    found.outcome[:] = torch.tensor([OUTCOMES.index(outcome) for _, outcome in pairs])
    return found


def test_a_fooling_image_stands_in_where_least_was_found():
    fooling, border, real, nothing = Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION, Outcome.UNCONFIDENT
    best = outcomes((0, fooling), (1, border), (0, real), (0, nothing), (1, nothing))
    taken, places = places_for(torch.tensor([0, 0, 1]), best)
    assert dict(zip(taken.tolist(), places.tolist(), strict=True)) == {0: 3, 1: 2, 2: 4}
    assert sorted(places_for(torch.zeros(7, dtype=torch.long), best)[1].tolist()) == [0, 2, 3]
    assert len(places_for(torch.tensor([0, 0, 1]), NOTHING)[0]) == len(places_for(NOTHING.targets, best)[0]) == 0
