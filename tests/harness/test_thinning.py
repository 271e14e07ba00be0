"""Digits that fall apart: what passes for real with all its pixels, and fools with fewer."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bench.harness.gallery import Gallery
from bench.harness.generate import Generated
from bench.harness.registry import ATTACKS
from bench.store import Store
from bench.types import Budget, ImageSpec, Outcome, ThreatModel, lit_pixels
from bench.verify import OUTCOMES, Verified

SPEC = ImageSpec((1, 4, 4), 255, ("left", "right"))
STROKE = 4  # pixels of a real image, one column


class OnePixel(nn.Module):
    """Sure of a class where the top pixel of its column is lit, whatever else is."""

    def forward(self, images: Tensor) -> Tensor:
        return 20 * images[:, 0, 0, [0, 3]]


class WholeStrokes:
    """Takes whole columns for real; the fewer of their pixels there are, the odder."""

    working, strict = 0.5, 1.5

    def score(self, images: Tensor) -> Tensor:
        whole = images[:, 0, :, [0, 3]].sum(dim=1).amax(dim=1)
        return (STROKE - whole).double()


def strokes(classifier, targets, *, threat, budget, generator, start=None, mask=None) -> Tensor:
    """Real images, but for the last target: nothing is drawn there."""
    images = torch.zeros(len(targets), *SPEC.shape)
    for image, target in zip(images[:-1], targets[:-1].tolist(), strict=True):
        image[0, :, 3 * target] = 1
    return images


def dense(classifier, targets, **how) -> Tensor:
    """All lit but for the other class's column: confident, and far from sparse."""
    images = torch.ones(len(targets), *SPEC.shape)
    for image, target in zip(images, targets.tolist(), strict=True):
        image[0, :, 3 * (1 - target)] = 0
    return images


@pytest.fixture
def gallery(tmp_path):
    """Two attacks on `OnePixel`, which is confident where nobody else would be."""

    class Run(SimpleNamespace):
        @cached_property
        def gallery(self):
            found = Gallery(self)
            found.price = lambda name: float(len(name))
            return found

    return Run(
        settings=SimpleNamespace(
            attacks=("strokes",), plan=SimpleNamespace(images=4), attack=Budget(10, 1), seed=0, p=0.9
        ),
        attacks={"strokes": strokes, "dense": dense},
        store=Store(tmp_path),
        spec=SPEC,
        k=STROKE,
        network_at=lambda place: OnePixel(),
        final_threat=ThreatModel((0.9, 0.9), STROKE),
        rounds_before_selected=lambda: [],
        threat_of=lambda network: ThreatModel((0.9, 0.9), STROKE),
        lab=SimpleNamespace(measuring_judge=WholeStrokes()),
        say=lambda text: None,
        add_cost=lambda *cost: None,
    ).gallery


def outcomes(found):
    return [str(OUTCOMES[i]) for i in found.outcome]


def test_a_digit_that_may_lose_its_pixels_fools(gallery):
    alone = gallery.cascade("control")["strokes"].verified
    assert outcomes(alone) == ["in_distribution"] * 3 + ["unconfident"]
    found = gallery.cascade()["strokes"]
    assert outcomes(found.verified) == ["fooling"] * 3 + ["unconfident"]
    assert found.verified.pixels.tolist() == [1, 1, 1, 0]
    assert found.targets.tolist() == [0, 1, 2, 3]


def test_targets_that_only_thinned_images_fool_are_asked_of_no_dearer_attack(gallery):
    gallery.session.settings.attacks = ("strokes", "strokes2")
    gallery.session.attacks["strokes2"] = strokes
    assert gallery.cascade()["strokes2"].targets.tolist() == [3]


def test_what_an_attack_minimises_apart_from_the_cascade_counts(gallery, monkeypatch):
    """The cascade stops it at k = 4; with no k to stop at it finds what thins to a fooling image."""
    monkeypatch.setattr(ATTACKS, "minimisers", {"either"})
    gallery.session.settings.attacks = ("either",)
    gallery.session.attacks["either"] = lambda classifier, targets, *, threat, **how: (
        dense(classifier, targets) if threat.k == 0 else torch.zeros(len(targets), *SPEC.shape)
    )
    assert outcomes(gallery.cascade("control")["either"].verified) == ["unconfident"] * 4
    assert outcomes(gallery.cascade()["either"].verified) == ["fooling"] * 4


def test_the_frontier_has_the_thinned_images(gallery):
    raw, thinned = gallery.cascade()["strokes"].beside
    assert lit_pixels(raw.images).tolist() == [STROKE, STROKE, STROKE, 0]
    assert lit_pixels(thinned.images).tolist() == [1, 1, 1]
    assert bool(thinned.is_(Outcome.FOOLING).all())


def test_what_an_attack_minimises_is_judged_at_the_runs_own_k(gallery, monkeypatch):
    """With no k to stop at every image counts as dense; two of its pixels would fool, and thinning may go astray."""

    def two_pixels(classifier, targets, *, threat, **how):
        images = torch.zeros(len(targets), *SPEC.shape)
        images[range(len(targets)), 0, :2, 3 * targets] = float(threat.k == 0)
        return images

    monkeypatch.setattr(ATTACKS, "minimisers", {"two"})
    monkeypatch.setattr("bench.harness.gallery.thinned", lambda session, network, found, threat: as_it_was(found))
    gallery.session.settings.attacks = ("two",)
    gallery.session.attacks["two"] = two_pixels
    assert outcomes(gallery.cascade()["two"].verified) == ["fooling"] * 4


def as_it_was(found):
    """Thinning that loses what it had."""
    return Generated(replace(found, outcome=torch.zeros_like(found.outcome) + OUTCOMES.index(Outcome.NEITHER)), 0, 0, 0)


def test_images_from_elsewhere_are_thinned_where_they_do_not_fool_yet(gallery):
    found = gallery.cascade("control")["strokes"].verified
    assert outcomes(gallery.or_thinned("thinned-known", "strokes", found)) == ["fooling"] * 3 + ["unconfident"]
    blank = found[torch.tensor([3])]
    assert gallery.or_thinned("thinned-known", "strokes", blank) is blank
    fooling = gallery.cascade()["strokes"].beside[1]
    assert gallery.or_thinned("thinned-known", "strokes", fooling) is fooling


def test_what_was_not_finite_on_the_final_network_is_counted_wherever_it_was_met(gallery):
    met = iter([3, 2])

    def keeps(step):
        save = gallery.session.store.save_tensors
        none = torch.zeros(len(step.which))
        made = Verified(none.view(-1, 1, 1, 1).expand(-1, *SPEC.shape).contiguous(), step.which % 2, none, none.long(),
                        none.double(), none.long())  # fmt: skip
        save(step.file, {**vars(made), "which": step.which, "counts": torch.tensor([0, 0, next(met)])})

    gallery._make = keeps
    gallery.made("final-real", "strokes")
    assert gallery.non_finite == {"strokes": 3}
    gallery.at_k("final", "strokes", 2)
    assert gallery.non_finite == {"strokes": 5}
    gallery.note("l1_sparse", "a file", 1)
    assert gallery.non_finite == {"strokes": 5, "l1_sparse": 1}


def test_thinned_images_are_made_once(gallery):
    first = gallery.cascade()["strokes"].verified
    again = Gallery(gallery.session)
    again.price = gallery.price
    again._make = None  # would be called where something is missing
    assert torch.equal(again.cascade()["strokes"].verified.images, first.images)
