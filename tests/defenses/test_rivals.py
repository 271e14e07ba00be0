"""Each rival learns the digits, does what its paper says to what it is taught, repeats itself, and resumes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from bench.harness.registry import DEFENSES
from bench.materials.data import load
from bench.materials.judge import training_judge
from bench.materials.networks import build, mlp
from bench.materials.training import to_uniform, train_classifier
from bench.seeds import derive
from bench.task import Round, Task
from bench.types import Budget, ImageSpec, ThreatModel, lit_pixels
from bench.verify import logits_of
from defenses import acet, alone, fakeclass_bare, fresh, outlier_exposure, pgd_at, rounds

EPOCHS = 12
ONCE = ("outlier_exposure", "acet", "pgd_at")
IN_ROUNDS = ("fakeclass_single", "max_entropy", "fresh")
LOOPS = (rounds, alone)  # the modules that train


class Watcher:
    def __init__(self):
        self.indices, self.labels, self.epochs = [], [], 0

    def generated(self, index, batch):
        self.indices.append(index)

    def batch(self, logits, labels, loss):
        assert logits.shape[0] == len(labels) == len(loss)
        self.labels.append(labels)

    def epoch(self, network):
        self.epochs += 1


@cache
def digits():
    return load("digits", root=Path(), seed=0, allow_download=False)


@cache
def judge():
    half = digits().a_train
    return training_judge(half.images, half.labels, seed=0)


def task(past=(), max_rounds=2, images=60, train=None):
    data = digits()
    return Task(
        spec=data.spec,
        train=train or data.a_train,
        validation=data.a_val,
        judge=judge(),
        new_network=lambda outputs, seed: build(mlp, data.spec, outputs, seed),
        threat=ThreatModel(0.9, 24),
        images=images,
        budget=Budget(300),
        max_rounds=max_rounds,
        seed=0,
        past=tuple(past),
    )


@pytest.fixture
def quick(monkeypatch):
    """One epoch and two inner steps, where only what repeats is asked."""
    for module in LOOPS:
        monkeypatch.setattr(module, "default_epochs", lambda images: 1)
    monkeypatch.setattr(acet, "STEPS", 2)
    monkeypatch.setattr(pgd_at, "GREY", pgd_at.GREY._replace(steps=2))


@cache
def trained(name):
    """A rival's rounds after a short training, and what its recorder heard."""
    watcher = Watcher()
    with pytest.MonkeyPatch.context() as patch:
        for module in LOOPS:
            patch.setattr(module, "default_epochs", lambda images: EPOCHS)
        return list(DEFENSES.load(name)(task(), watcher)), watcher


def final(name):
    return trained(name)[0][-1].network


def accuracy(network, images, labels):
    return float((logits_of(network, images).argmax(dim=1) == labels).double().mean())


def confidence(network, images):
    """Mean of the largest probability of a real class."""
    return float(logits_of(network, images).softmax(dim=1)[:, :10].amax(dim=1).mean())


def draw(seed=9):
    return torch.Generator().manual_seed(seed)


def taught(name, index):
    batch = trained(name)[0][index].batch
    return batch.images[batch.taught], batch.targets[batch.taught]


def same(a, b):
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", [*ONCE, *IN_ROUNDS])
def test_the_digits_are_learned(name):
    test = digits().test
    plain = accuracy(final("undefended"), test.images, test.labels)
    assert plain > 0.93
    assert accuracy(final(name), test.images, test.labels) > plain - 0.04


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("fakeclass_single", 11),
        ("max_entropy", 10),
        ("fresh", 20),
        ("outlier_exposure", 10),
        ("acet", 10),
        ("pgd_at", 10),
    ],
)
def test_the_outputs_the_rounds_and_the_attacks_are_those_it_declares(name, outputs):
    done, watcher = trained(name)
    assert logits_of(done[0].network, digits().test.images[:2]).shape == (2, outputs)
    rounds_of = [0, 1, 2] if name in IN_ROUNDS else [0]
    assert [finished.index for finished in done] == rounds_of
    assert watcher.indices == rounds_of[1:]
    assert [finished.batch is None for finished in done] == [index == 0 for index in rounds_of]
    assert set(DEFENSES.load(name).attacks) == ({"l1_sparse"} if name in IN_ROUNDS else set())
    assert not done[-1].network.training


@pytest.mark.parametrize("name", ["outlier_exposure", "acet", "pgd_at", "max_entropy"])
def test_the_recorder_hears_of_labelled_images_alone_and_of_every_epoch(name):
    _, watcher = trained(name)
    labels = torch.cat(watcher.labels)
    assert len(labels) == watcher.epochs * len(digits().a_train)
    assert torch.equal(torch.bincount(labels), watcher.epochs * torch.bincount(digits().a_train.labels))
    assert watcher.epochs == EPOCHS + (2 * 2 if name in IN_ROUNDS else 0)


# What each does to what it is taught


def test_what_fooled_it_is_the_one_fake_class_whatever_its_target():
    images, targets = taught("fakeclass_single", 1)
    assert len(targets) >= 50
    assert len(set(targets.tolist())) == 10
    assert (logits_of(final("fakeclass_single"), images).argmax(dim=1) == 10).double().mean() > 0.95


def test_what_fooled_it_leaves_the_network_without_an_answer():
    images, _ = taught("max_entropy", 1)
    assert len(images) >= 50
    assert confidence(trained("max_entropy")[0][0].network, images) > 0.9
    assert confidence(final("max_entropy"), images) < 0.2


def test_outliers_lose_their_confidence():
    images = outlier_exposure.outliers(500, digits().spec, draw())
    assert confidence(final("undefended"), images) > 0.5
    assert confidence(final("outlier_exposure"), images) < 0.2
    assert float(logits_of(final("outlier_exposure"), images).softmax(dim=1).amax()) < 0.5


def test_outliers_are_noise_on_the_grid_half_of_it_sparse_and_dim():
    spec = digits().spec
    images = outlier_exposure.outliers(401, spec, draw())
    assert torch.equal(images, spec.round(images))
    sparse, dense = images[:200], images[200:]
    assert lit_pixels(dense).min() > 50
    assert lit_pixels(sparse).min() < 5
    assert lit_pixels(sparse).max() > 50
    peaks = sparse[lit_pixels(sparse) > 30].flatten(1).amax(dim=1)  # of one drawn from [0, 1], all would be bright
    assert peaks.min() < 0.5
    assert peaks.max() > 0.8


@pytest.fixture
def told(monkeypatch):
    """What training is told, without any."""

    def of(name):
        heard = {}
        monkeypatch.setattr(alone, "train_classifier", lambda network, train, **kwargs: heard.update(kwargs))
        list(DEFENSES.load(name)(task(), Watcher()))
        return heard

    return of


def test_outlier_exposure_is_the_papers(told):
    beside = told("outlier_exposure")["unlabelled"]
    assert beside.weight == 0.5
    assert beside.loss is to_uniform
    first, second = (beside.draw(final("undefended"), digits().a_train[:30]) for _ in range(2))
    assert len(first) == 30
    assert not torch.equal(first, second)


def test_confidence_falls_around_noise_even_where_it_is_highest():
    noise = acet.noise(digits().test.images, draw())
    assert confidence(final("undefended"), ascended(final("undefended"), noise)) > 0.95
    assert confidence(final("acet"), ascended(final("acet"), noise)) < 0.2


def ascended(network, noise):
    """Up the largest logit's margin by sign steps of a pixel in a ball of 0.3, from the noise itself."""
    x = noise.clone()
    for _ in range(20):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(network(x).log_softmax(dim=1).amax(dim=1).sum(), x)
        x = (x.detach() + 0.03 * slope.sign()).clamp(noise - 0.3, noise + 0.3).clamp(0, 1)
    return x


def test_acet_is_taught_the_surest_images_near_its_noise(told, monkeypatch):
    beside, network, real = told("acet")["unlabelled"], final("undefended"), digits().a_train[:200]
    near = []
    monkeypatch.setattr(acet, "noise", lambda images, generator: near.append(NOISE(images, generator)) or near[-1])
    images = beside.draw(network, real)
    assert len(images) == len(real)
    assert (images - near[0]).abs().amax() <= 0.3 + 1e-6
    assert 0 <= images.amin() <= images.amax() <= 1
    assert confidence(network, images) > 0.99
    assert confidence(network, near[0]) < 0.95
    assert beside.weight == 1
    logits = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(beside.loss(logits), logits.softmax(dim=1).amax(dim=1).log())


NOISE = acet.noise


def test_acets_noise_is_smooth_and_fills_the_range():
    images = acet.noise(digits().a_train.images[:100], draw())
    assert torch.equal(images.flatten(1).amin(dim=1), torch.zeros(100))
    torch.testing.assert_close(images.flatten(1).amax(dim=1), torch.ones(100))
    blank = acet.noise(torch.zeros(4, 1, 8, 8), draw())
    assert torch.isfinite(blank).all()
    wide = acet.noise(torch.rand(40, 3, 28, 28, generator=draw()), draw())
    steps = (wide[:, :, 1:] - wide[:, :, :-1]).abs().mean()
    assert steps < 0.1  # raw noise: a third


def test_acets_noise_is_half_permuted_pixels_with_their_channels_together(monkeypatch):
    monkeypatch.setattr(acet, "blur", lambda images, sigma: images)
    real = torch.rand(20, 3, 4, 4, generator=draw())
    real[:, :, 0, 0], real[:, :, 1, 1] = 0, 1  # so that the range is full already
    found = acet.noise(real, draw(1))

    def pixels(image):
        return sorted(map(tuple, image.flatten(1).T.tolist()))

    kept = [pixels(a) == pixels(b) for a, b in zip(found, real, strict=True)]
    assert kept == [True] * 10 + [False] * 10
    assert not torch.equal(found[:10], real[:10])


def test_a_blurred_flat_image_stays_flat_and_a_point_spreads_to_both_sides():
    torch.testing.assert_close(acet.blur(torch.full((1, 2, 5, 7), 0.4), 1.5), torch.full((1, 2, 5, 7), 0.4))
    point = torch.zeros(1, 1, 15, 15)
    point[..., 7, 7] = 1
    spread = acet.blur(point, 1.0)
    torch.testing.assert_close(spread, spread.transpose(2, 3))
    torch.testing.assert_close(spread[..., 7, 8] / spread[..., 7, 7], torch.tensor([[(-0.5)]]).exp(), rtol=1e-4, atol=0)


def test_adversarial_training_holds_where_an_undefended_network_falls():
    radius, test = pgd_at.ball_of(digits().spec).radius, digits().test

    def robust(network):
        x = test.images.clone()
        for _ in range(20):
            x.requires_grad_()
            (slope,) = torch.autograd.grad(cross_entropy(network(x), test.labels, reduction="sum"), x)
            x = (x.detach() + radius / 5 * slope.sign()).clamp(test.images - radius, test.images + radius).clamp(0, 1)
        return accuracy(network, x, test.labels)

    assert robust(final("pgd_at")) > robust(final("undefended")) + 0.1


def test_adversarial_training_sees_the_worst_of_each_ball_and_nothing_else(told):
    heard, network, real = told("pgd_at"), final("undefended"), digits().a_train[:100]
    first, second = (heard["alter"](network, real, pgd_at.GROWTH) for _ in range(2))
    assert (first - real.images).abs().amax() <= pgd_at.ball_of(digits().spec).radius + 1e-6
    assert accuracy(network, first, real.labels) < accuracy(network, real.images, real.labels) - 0.1
    assert not torch.equal(first, second)
    assert heard.get("unlabelled") is None
    assert not heard.get("fakes")


def test_the_ball_of_adversarial_training_grows_and_then_stays(told):
    alter, real = told("pgd_at")["alter"], digits().a_train[:20]
    moved = [(alter(final("undefended"), real, over) - real.images).abs().amax() for over in (0, 0.1, 0.25, 0.5, 1)]
    whole = pgd_at.ball_of(digits().spec).radius
    torch.testing.assert_close(torch.stack(moved), whole * torch.tensor([0, 0.2, 0.5, 1, 1]))


@pytest.mark.parametrize(
    ("shape", "ball"),
    [
        ((1, 28, 28), (0.3, 0.01, 40)),
        ((1, 32, 32), (0.3, 0.01, 40)),
        ((1, 8, 8), (0.6 / 7, 0.02 / 7, 40)),
        ((3, 32, 32), (8 / 255, 2 / 255, 7)),
    ],
)
def test_the_ball_is_the_papers_and_less_on_small_images(shape, ball):
    assert pgd_at.ball_of(ImageSpec(shape, 255, ("a", "b"))) == pytest.approx(ball)


@pytest.mark.parametrize(("defense", "anew"), [(fresh.fresh, True), (fakeclass_bare.fakeclass_bare, False)])
def test_fresh_begins_each_round_untrained_and_fake_classes_where_they_were(defense, anew, quick, monkeypatch):
    begun = []

    def watched(network, train, **kwargs):
        begun.append(({key: value.clone() for key, value in network.state_dict().items()}, kwargs["epochs"]))
        return train_classifier(network, train, **kwargs)

    monkeypatch.setattr(rounds, "train_classifier", watched)
    monkeypatch.setattr(rounds, "default_epochs", lambda images: 5)
    done = list(defense(task(), Watcher()))
    assert all(finished.batch.taught.any() for finished in done[1:])
    for index in (1, 2):
        weights, epochs = begun[index]
        untrained = build(mlp, digits().spec, 20, derive(0, "fresh", index)).state_dict()
        before = untrained if anew else done[index - 1].network.state_dict()
        assert all(torch.equal(weights[key], before[key]) for key in weights)
        assert epochs == (5 if anew else 1)


def test_fresh_knows_the_fakes_of_every_round():
    for index in (1, 2):
        images, targets = taught("fresh", index)
        assert len(targets) >= 30
        assert (logits_of(final("fresh"), images).argmax(dim=1) == targets + 10).double().mean() > 0.9


# The same every time


@pytest.mark.parametrize("name", [*ONCE, *IN_ROUNDS])
def test_the_same_seed_gives_the_same_weights(name, quick):
    asked = task(images=10, train=digits().a_train[:60])
    before = torch.random.get_rng_state()
    first, again, other = (list(DEFENSES.load(name)(replace(asked, seed=seed), Watcher())) for seed in (0, 0, 1))
    assert not same(first[-1].network, other[-1].network)
    assert all(same(a.network, b.network) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", IN_ROUNDS)
def test_it_goes_on_after_any_round_as_if_it_had_never_stopped(name, quick):
    part, defense = digits().a_train[:60], DEFENSES.load(name)
    whole = list(defense(task(images=20, train=part, max_rounds=3), Watcher()))
    for stopped in (0, 1, 2):
        watcher, begun = Watcher(), list(defense(task(images=20, train=part, max_rounds=stopped), Watcher()))
        past = [Round(done.index, done.network, done.batch) for done in begun]
        more = list(defense(task(past=past, images=20, train=part, max_rounds=3), watcher))
        assert watcher.indices == [done.index for done in more] == list(range(stopped + 1, 4))
        for a, b in zip(whole[stopped + 1 :], more, strict=True):
            assert same(a.network, b.network)
            assert torch.equal(a.batch.images, b.batch.images)


@pytest.mark.parametrize("name", ONCE)
def test_what_has_no_rounds_is_done_once(name):
    (done,), _ = trained(name)
    assert list(DEFENSES.load(name)(task(past=[done]), Watcher())) == []
