import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.errors import NonFiniteError
from bench.types import ImageSpec, Outcome, ThreatModel, lit_pixels
from bench.verify import OUTCOMES, reached, verify

SPEC = ImageSpec((1, 2, 2), 4, ("a", "b"))


class Total(nn.Module):
    """Class a exactly as likely as the sum of the pixels says: p = 0, 0.5, 0.9 for 0, 1, 2 lit ones."""

    def forward(self, images):
        odds = torch.tensor([-20.0, 0.0, 2.2, 2.2, 2.2])[images.flatten(1).sum(1).round().long()]
        return torch.stack([odds, torch.zeros_like(odds)], 1)


class Fixed:
    """A judge that scores an image by its last pixel."""

    working, strict = 0.2, 0.6

    def score(self, images):
        return images.flatten(1)[:, -1].double()


def outcome_of(pixels, p=0.9, k=3):
    images = torch.tensor(pixels, dtype=torch.float).view(1, 1, 2, 2)
    found = verify(Total(), SPEC, images, torch.tensor([0]), ThreatModel(p, k), Fixed())
    return OUTCOMES[int(found.outcome[0])]


@pytest.mark.parametrize(
    ("pixels", "k", "outcome"),
    [
        ([0, 1, 0, 1.0], 2, Outcome.FOOLING),
        ([0, 1, 0.5, 0.5], 3, Outcome.BORDERLINE),
        ([1, 1, 0, 0.0], 2, Outcome.IN_DISTRIBUTION),
        ([1, 0, 0, 1.0], 1, Outcome.DENSE),
        ([1, 0, 0, 0.0], 1, Outcome.UNCONFIDENT),
        ([0.25, 0.5, 0.25, 0.0], 2, Outcome.NEITHER),
    ],
)
def test_every_image_has_the_one_outcome_that_fits(pixels, k, outcome):
    assert outcome_of(pixels, k=k) == outcome


class Shy(Total):
    """Takes two hundredths off the odds of whoever does not come alone."""

    def forward(self, images):
        return super().forward(images) - torch.tensor([0.02 if len(images) > 1 else 0.0, 0.0])


def test_an_image_just_short_of_p_is_asked_about_alone():
    images = torch.tensor([[0, 1, 0, 1.0], [1, 1, 0, 1.0], [0, 0, 0, 1.0]]).view(3, 1, 2, 2)
    threat = ThreatModel(torch.tensor(2.19).sigmoid().item(), 2)
    found = verify(Shy(), SPEC, images, torch.zeros(3, dtype=torch.long), threat, Fixed())
    assert found.counts()["fooling"] == 1
    assert found.is_(Outcome.FOOLING)[0]
    assert found.probability[0] == torch.tensor(2.2).sigmoid()
    assert found.is_(Outcome.NEITHER)[1]  # dense: no verdict hangs on it
    assert found.probability[2] == torch.tensor(-0.02).sigmoid()


def test_the_threshold_itself_counts_as_confident_and_k_as_sparse():
    assert outcome_of([1, 0, 0, 0], p=0.5, k=1) == Outcome.IN_DISTRIBUTION
    assert outcome_of([1, 0, 0, 0], p=0.500001, k=1) == Outcome.UNCONFIDENT


def test_images_are_clipped_and_rounded_before_anything_is_asked():
    found = verify(
        Total(), SPEC, torch.tensor([[[[7.0, 0.1], [-3.0, 1.0]]]]), torch.tensor([0]), ThreatModel(0.9, 2), Fixed()
    )
    assert found.images.flatten().tolist() == [1, 0, 0, 1]
    assert int(found.pixels[0]) == 2


def test_a_pixel_counts_once_over_its_channels():
    images = torch.zeros(2, 3, 2, 2)
    images[0, :, 0, 0] = 1
    images[1, 0, 0, 0] = images[1, 1, 1, 1] = 1
    assert lit_pixels(images).tolist() == [1, 2]


def test_p_is_looked_up_for_each_target():
    images = torch.zeros(2, 1, 2, 2)
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])  # 0.88 each
    assert reached(logits, images, torch.tensor([0, 1]), ThreatModel((0.8, 0.9), 4)).tolist() == [True, False]


def test_the_network_is_put_in_eval_mode():
    network = nn.Sequential(nn.Dropout(1.0), Total())
    network.train()
    images = torch.tensor([[[[0, 1.0], [0, 1.0]]]])
    found = verify(network, SPEC, images, torch.tensor([0]), ThreatModel(0.9, 2), Fixed())
    assert OUTCOMES[int(found.outcome[0])] == Outcome.FOOLING


class Broken(nn.Module):
    def forward(self, images):
        return torch.full((len(images), 2), float("nan"))


def test_what_is_not_finite_is_refused():
    good, target, threat = torch.zeros(1, 1, 2, 2), torch.tensor([0]), ThreatModel(0.9, 2)
    with pytest.raises(NonFiniteError, match="logits"):
        verify(Broken(), SPEC, good, target, threat, Fixed())
    with pytest.raises(NonFiniteError, match="pixels"):
        verify(Total(), SPEC, good / 0, target, threat, Fixed())
    judge = Fixed()
    judge.score = lambda images: torch.full((len(images),), float("inf")).double()
    with pytest.raises(NonFiniteError, match="judge"):
        verify(Total(), SPEC, good, target, threat, judge)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected"):
        verify(Total(), SPEC, torch.zeros(2, 1, 2, 2), torch.tensor([0]), ThreatModel(0.9, 2), Fixed())


def test_no_images_is_no_accident():
    none = torch.zeros(0, dtype=torch.long)
    assert len(verify(Total(), SPEC, torch.zeros(0, 1, 2, 2), none, ThreatModel(0.9, 2), Fixed()).targets) == 0


@given(st.lists(st.lists(st.sampled_from([0, 0.25, 0.5, 1]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_outcomes_partition_and_follow_their_definitions(rows):
    images = torch.tensor(rows).float().view(-1, 1, 2, 2)
    found = verify(Total(), SPEC, images, torch.zeros(len(rows), dtype=torch.long), ThreatModel(0.9, 2), Fixed())
    assert sum(found.counts().values()) == len(rows)
    expected = (found.probability >= 0.9) & (found.pixels <= 2) & (found.score > 0.6)
    assert torch.equal(found.is_(Outcome.FOOLING), expected)
