import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.materials.split import Split
from bench.materials.training import default_epochs, train_classifier
from bench.meter import BudgetExceededError
from bench.seeds import derive, generator
from bench.task import Round, Task
from bench.types import Budget, ImageSpec, ThreatModel
from defenses.fakeclass_bare import fakeclass_bare
from defenses.rounds import VARIED_EPOCHS, labelled, no_class, rounds
from defenses.undefended import undefended

SPEC = ImageSpec((1, 2, 2), 4, ("a", "b"))


class Judge:
    """Takes an image for real when its last pixel is lit."""

    working, strict = 0.5, 0.8

    def score(self, images):
        return 1 - images.flatten(1)[:, -1].double()


class Silent:
    def __init__(self):
        self.indices = []

    def generated(self, index, batch):
        self.indices.append(index)

    def batch(self, logits, labels, loss):
        pass

    def epoch(self, network):
        pass


def real(n=40):
    labels = torch.arange(n) % 2
    images = torch.zeros(n, 1, 2, 2)
    images.flatten(1)[torch.arange(n), labels] = 1
    images[:, :, 1, 1] = 1
    return Split(images, labels)


def network(outputs, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed % 1000)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, outputs))


def task(past=(), max_rounds=4, passes=400):
    return Task(
        spec=SPEC,
        train=real(200),
        validation=real(10),
        judge=Judge(),
        new_network=network,
        threat=ThreatModel(0.5, 4),
        images=6,
        budget=Budget(passes),
        max_rounds=max_rounds,
        seed=3,
        past=tuple(past),
    )


def attack(classifier, targets, *, threat, budget, generator, start=None, mask=None):
    """Lights the target's own pixel, and for every third image the judge's too."""
    images = torch.zeros(len(targets), 1, 2, 2)
    images.flatten(1)[torch.arange(len(targets)), targets] = 1
    images[::3, :, 1, 1] = 1
    return images


def nothing(classifier, targets, **_):
    return torch.zeros(len(targets), 1, 2, 2)


def all_rounds(asked, found=attack, recorder=None, **other):
    given = {"outputs": 4, "teach": labelled(lambda targets: targets + 2), "attacks": {"own": found}, **other}
    return list(rounds(asked, recorder or Silent(), name="x", **given))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_only_what_reaches_its_target_and_the_training_judge_rejects_is_taught():
    done = all_rounds(task(max_rounds=1))
    taught = done[1].batch.taught
    assert done[0].batch is None
    assert not taught[::3].any()  # taken for real: a digit is no fake
    assert taught.any()


def test_what_was_taught_is_recognised_as_the_fake_class_of_its_target():
    done = all_rounds(task(max_rounds=2))
    batch = done[1].batch
    predicted = done[-1].network(batch.images[batch.taught]).argmax(dim=1)
    assert torch.equal(predicted, batch.targets[batch.taught] + 2)


def test_the_attack_rises_to_the_tasks_budget():
    budgets = [r.batch.budget.passes for r in all_rounds(task(max_rounds=6))[1:]]
    assert budgets == [100, 100, 200, 200, 400, 400]


def test_training_ends_after_two_silent_rounds_at_full_strength_and_not_before():
    assert len(all_rounds(task(max_rounds=20, passes=200), nothing)) == 1 + 4  # two weak rounds, two at full strength
    assert len(all_rounds(task(max_rounds=5, passes=400), nothing)) == 1 + 5


def test_it_goes_on_from_past_rounds_as_if_it_had_never_stopped():
    whole = all_rounds(task(max_rounds=3))
    half = [Round(r.index, r.network, r.batch) for r in all_rounds(task(max_rounds=1))]
    recorder = Silent()
    rest = all_rounds(task(past=half, max_rounds=3), recorder=recorder)
    assert recorder.indices == [2, 3]
    for a, b in zip(whole[2:], rest, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True))


def test_a_yielded_network_does_not_change_with_later_training():
    weights = []
    taught = labelled(lambda targets: targets + 2)
    for done in rounds(task(max_rounds=2), Silent(), name="x", attacks={"own": attack}, outputs=4, teach=taught):
        weights.append((done.network, [p.clone() for p in done.network.parameters()]))
    for net, then in weights:
        assert all(torch.equal(now, before) for now, before in zip(net.parameters(), then, strict=True))


def test_each_round_goes_on_with_the_last_network_on_new_and_past_fakes():
    done = all_rounds(task(max_rounds=2))
    fakes = [Split(r.batch.images[r.batch.taught], r.batch.targets[r.batch.taught] + 2) for r in done[1:]]
    epochs, train = default_epochs(200), task().train
    by_hand = network(4, derive(3, "x"))
    for index, (sets, length) in enumerate([([], epochs), (fakes[:1], epochs // 5), (fakes[::-1], epochs // 5)]):
        train_classifier(by_hand, train, generator=generator(3, "x", index), epochs=length, fakes=sets)
        assert same(by_hand, done[index].network)


def test_without_labels_what_was_taught_ends_with_no_answer():
    done = all_rounds(task(max_rounds=2), outputs=2, teach=no_class)
    batch = done[1].batch
    assert batch.taught.any()
    before, after = (done[i].network(batch.images[batch.taught]).softmax(dim=1).amax(dim=1) for i in (0, 2))
    assert (before >= 0.5).all()
    assert after.mean() < before.mean() - 0.1


def test_anew_a_round_that_teaches_trains_a_new_network_and_any_other_keeps_the_last():
    made, built, prepared = [], [], []

    def second_time_alone(classifier, targets, **given):
        made.append(copy.deepcopy(classifier.network))
        images = attack(classifier, targets, **given)
        images[:, :, 1, 1] = 0 if len(made) == 2 else 1  # taken for real
        return images

    def built_anew(outputs, seed):
        built.append(seed)
        return network(outputs, seed)

    asked = replace(task(max_rounds=3), new_network=built_anew)
    done = all_rounds(
        asked, second_time_alone, anew=True, prepare=lambda fresh, _: prepared.append(copy.deepcopy(fresh))
    )
    assert [bool(r.batch and r.batch.taught.any()) for r in done] == [False, False, True, False]
    assert built == [derive(3, "x"), derive(3, "x", 2)]
    assert all(same(fresh, network(4, seed)) for fresh, seed in zip(prepared, built, strict=True))
    assert same(done[1].network, done[0].network)
    assert not same(done[2].network, done[1].network)
    assert same(done[3].network, done[2].network)
    assert all(same(attacked, r.network) for attacked, r in zip(made, done[:3], strict=True))


def test_an_attack_may_not_overspend():
    def greedy(classifier, targets, **_):
        for _ in range(101):
            classifier(torch.zeros(len(targets), 1, 2, 2))

    with pytest.raises(BudgetExceededError):
        all_rounds(task(max_rounds=1), greedy)


def test_bare_fake_classes_are_one_per_real_class():
    done = list(fakeclass_bare(task(max_rounds=1), Silent()))
    assert [r.index for r in done] == [0, 1]
    assert done[0].network(torch.zeros(1, 1, 2, 2)).shape == (1, 4)
    assert set(fakeclass_bare.attacks) == {"l1_sparse"}


def test_several_attacks_take_turns_and_training_ends_when_each_has_found_nothing():
    def a_digit(classifier, targets, **_):  # taken for real, whatever the network says
        return torch.ones(len(targets), 1, 2, 2)

    several = dict.fromkeys("abc", a_digit)
    done = all_rounds(task(max_rounds=20, passes=100), attacks=several)
    assert [r.batch.attack for r in done[1:]] == ["a", "b", "c"]  # each once, at full strength from the first round on


def test_what_is_silence_can_be_asked_for():
    def one_in_six(classifier, targets, **given):  # the others are taken for real
        images = torch.ones(len(targets), 1, 2, 2)
        images[0] = attack(classifier, targets, **given)[1]
        images[0].flatten()[1 - int(targets[0])] = 0
        images[0].flatten()[int(targets[0])] = 1
        return images

    assert len(all_rounds(task(max_rounds=5, passes=100), one_in_six, silence=0.5)) == 1 + 2
    found = all_rounds(task(max_rounds=5, passes=100), one_in_six)
    assert found[1].batch.taught.tolist() == [True] + [False] * 5
    assert len(found) > 1 + 2


def test_varied_images_are_what_the_network_sees_and_take_round_0_longer():
    seen = []

    class Counting(Silent):
        def epoch(self, network):
            seen.append(network)

    def dark(images, draw):
        return torch.zeros_like(images)

    done = all_rounds(task(max_rounds=0), recorder=Counting(), vary=dark)
    assert len(seen) == VARIED_EPOCHS * default_epochs(200)
    logits = done[0].network(real(4).images)
    assert accuracy_of(logits, real(4).labels) <= 0.5  # it never saw a lit pixel


def accuracy_of(logits, labels):
    return float((logits.argmax(dim=1) == labels).double().mean())


def test_later_rounds_last_as_long_as_they_are_asked_to():
    seen = []

    class Counting(Silent):
        def epoch(self, network):
            seen.append(network)

    all_rounds(task(max_rounds=1), recorder=Counting(), lasting=0.05)
    assert len(seen) == default_epochs(200) + round(0.05 * default_epochs(200))


def test_undefended_has_one_round_and_no_history():
    (done,) = undefended(task(), Silent())
    assert done.batch is None
    assert done.network(torch.zeros(1, 1, 2, 2)).shape == (1, 2)
    assert undefended.attacks == {}
    assert list(undefended(task(past=[done]), Silent())) == []
