import pytest
import torch
from torch import nn

from bench.budgets import BUDGETS
from bench.errors import BadInputError
from bench.harness.history import History
from bench.store import Store, StoreError
from bench.task import Batch, Defense, Round
from bench.types import Budget, ImageSpec, Outcome, ThreatModel

SPEC = ImageSpec((1, 1, 2), 4, ("a", "b"))


class Anything:
    working, strict = 0.0, 0.5

    def score(self, images):
        return torch.ones(len(images)).double()


def network(outputs=4):
    layer = nn.Sequential(nn.Flatten(), nn.Linear(2, outputs))
    nn.init.zeros_(layer[1].weight)
    nn.init.zeros_(layer[1].bias)
    with torch.no_grad():
        layer[1].weight[:2, :2] = 20 * torch.eye(2)
    return layer


def own(classifier, targets, **_):
    """Lights the target's own pixel."""
    return nn.functional.one_hot(targets, 2).float().view(-1, 1, 1, 2)


def history(tmp_path, attacks=None):
    defense = Defense(lambda task, recorder: iter(()), {"own": own} if attacks is None else attacks)
    return History(
        Store(tmp_path),
        defense,
        SPEC,
        Anything(),
        lambda net: ThreatModel(0.9, 1),
        BUDGETS["quick"],
        5,
        network,
    )


def batch(attack="own"):
    targets = torch.tensor([0, 1, 0])
    images = own(None, targets)
    images[2] = 0  # one that fools nobody
    return Batch(images, targets, torch.tensor([True, False, True]), attack, Budget(8))


def two_rounds(kept):
    kept.admit(Round(0, network()), None)
    images = kept.admit_images(1, batch())
    kept.admit(Round(1, network()), images)
    return images


def test_images_are_verified_on_the_network_of_the_round_before(tmp_path):
    images = two_rounds(history(tmp_path))
    assert images.made.counts()[Outcome.FOOLING] == 2
    assert len(images.fooling_taught.targets) == 1  # fooling, and taught
    assert len(images.fooling_heldout.targets) == BUDGETS["quick"].heldout


def test_what_was_stored_comes_back(tmp_path):
    images = two_rounds(history(tmp_path))
    again = history(tmp_path)
    again.load()
    assert len(again.rounds) == 2
    assert again.rounds[0].images is None
    back = again.rounds[1].images
    assert torch.equal(back.made.images, images.made.images)
    assert torch.equal(back.taught, images.taught)
    assert torch.equal(back.heldout.score, images.heldout.score)
    assert (back.attack, back.budget, back.passes) == (images.attack, images.budget, images.passes)
    assert again.as_rounds()[1].batch.budget == Budget(8)


def test_a_round_that_was_not_finished_is_made_again(tmp_path):
    kept = history(tmp_path)
    two_rounds(kept)
    kept.admit_images(2, batch())
    again = history(tmp_path)
    again.load()
    assert len(again.rounds) == 2


def test_a_round_with_a_flipped_byte_is_refused(tmp_path):
    two_rounds(history(tmp_path))
    path = tmp_path / "rounds/001/train.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"train\.safetensors"):
        history(tmp_path).load()


def test_training_on_does_not_change_a_round_that_is_finished(tmp_path):
    kept, live = history(tmp_path), network()
    kept.admit(Round(0, live), None)
    nn.init.constant_(live[1].bias, 7)
    assert kept.rounds[0].network[1].bias.abs().max() == 0


def test_a_defense_that_breaks_the_contract_is_told_what_was_expected(tmp_path):
    kept = history(tmp_path)
    with pytest.raises(BadInputError, match="expected round 1"):
        kept.admit_images(0, batch())
    kept.admit(Round(0, network()), None)
    with pytest.raises(BadInputError, match="yielded round 0; expected round 1"):
        kept.admit(Round(0, network()), None)
    with pytest.raises(BadInputError, match="does not declare"):
        kept.admit_images(1, batch("another"))
