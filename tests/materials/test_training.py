"""The training loop reaches real accuracy, repeats itself to the bit and tells its observers everything."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from bench.materials.data import Data, load
from bench.materials.networks import NETWORKS, build
from bench.materials.split import Split
from bench.materials.training import (
    Replay,
    Unlabelled,
    default_batch,
    default_epochs,
    mixed,
    shifted,
    to_uniform,
    train_classifier,
    warped,
)
from bench.verify import logits_of


@cache
def digits() -> Data:
    return load("digits", root=Path(), seed=0, allow_download=False)


def trained(name: str, train: Split, *, epochs: int, seed: int = 0, batches: int = 0, outputs: int = 10, **kwargs):
    network = build(NETWORKS[name], digits().spec, outputs, seed)
    draw = torch.Generator().manual_seed(batches)
    return train_classifier(network, train, generator=draw, epochs=epochs, **kwargs)


def accuracy(network: torch.nn.Module, real: Split) -> float:
    return float((logits_of(network, real.images).argmax(dim=1) == real.labels).double().mean())


@pytest.mark.parametrize("name", NETWORKS)
def test_digits_are_learned(name):
    data = digits()
    network = trained(name, data.a_train, epochs=default_epochs(len(data.a_train)))
    probability = logits_of(network, data.test.images).softmax(dim=1)
    right = probability.argmax(dim=1) == data.test.labels
    assert right.double().mean() >= 0.945
    assert (right & (probability.amax(dim=1) >= 0.9)).double().mean() >= 0.88
    assert accuracy(network, data.a_val) >= 0.95


@pytest.mark.mnist
def test_three_epochs_of_mnist_go_most_of_the_way(mnist_root):
    data = load("mnist", root=mnist_root, seed=0, allow_download=False)
    network = build(NETWORKS["cnn"], data.spec, 10, seed=0)
    train_classifier(network, data.a_train, generator=torch.Generator().manual_seed(0), epochs=3)
    assert accuracy(network, data.test) >= 0.96


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_generators_give_the_same_weights(name):
    part = digits().a_train[:200]
    first, again = (trained(name, part, epochs=2).state_dict() for _ in range(2))
    other_draws = trained(name, part, epochs=2, batches=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other_draws[key]) for key in first)


def test_training_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    trained("mlp", digits().a_train[:50], epochs=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_batch_and_epoch_is_reported_and_every_image_seen_once_an_epoch():
    part, steps, epochs, seen = digits().a_train[:50], [], [], []

    def on_batch(logits, labels, loss):
        assert loss.shape == labels.shape
        steps.append(loss.mean().item())
        seen.append(labels)
        assert logits.shape == (len(labels), 13)
        assert not logits.requires_grad

    def on_epoch(network):
        network.eval()
        epochs.append(network)

    trained("mlp", part, epochs=3, outputs=13, batch_size=16, on_batch=on_batch, on_epoch=on_epoch)
    assert (len(steps), len(epochs)) == (12, 3)
    assert torch.equal(torch.cat(seen[:4]).sort().values, part.labels.sort().values)
    assert steps[-1] < steps[0]


def test_the_steps_die_away():
    network, places = build(NETWORKS["mlp"], digits().spec, 10, seed=0), []

    def on_batch(*_):
        places.append(torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone())

    draw = torch.Generator().manual_seed(0)
    train_classifier(network, digits().a_train[:100], generator=draw, epochs=4, on_batch=on_batch)
    assert (places[-1] - places[-2]).norm() < 0.05 * (places[1] - places[0]).norm()


def test_the_network_comes_back_in_eval_mode():
    assert not trained("mlp", digits().a_train[:50], epochs=1).training


def test_fake_classes_are_never_taught():
    data = digits()
    network = trained("mlp", data.a_train, epochs=20, outputs=20)
    fake = logits_of(network, data.a_val.images).softmax(dim=1)[:, 10:].sum(dim=1)
    assert fake.mean() < 0.05


def test_fakes_are_replayed_beside_the_real_images_and_learned():
    data, labels = digits(), []
    new, past, none = (
        Split(torch.rand(n, 1, 8, 8), torch.full((n,), label)) for n, label in ((7, 10), (9, 11), (0, 12))
    )
    network = trained(
        "mlp",
        data.a_train,
        epochs=5,
        outputs=13,
        fakes=[new, past, none],
        fake_share=0.5,
        batch_size=20,
        on_batch=lambda _, taught, __: labels.append(torch.bincount(taught, minlength=13)),
    )
    assert {tuple(count[10:].tolist()) for count in labels} == {(5, 5, 0)}
    assert logits_of(network, new.images).argmax(dim=1).tolist() == [10] * 7
    assert accuracy(network, data.a_val) >= 0.9


OUTLIERS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(7))


def by_hand(part: Split, *, epochs: int, fakes: list[Split], weight: float, dim: float) -> dict[str, torch.Tensor]:
    """The loop written out, with images of no class and dimmed real ones where they are asked for."""
    network, draw = build(NETWORKS["mlp"], digits().spec, 12, 0), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * 5)
    replays = [Replay(fake, draw) for fake in fakes]
    for _ in range(epochs):
        for index in torch.randperm(len(part), generator=draw).split(16):
            beside = [replay.take(4) for replay in replays]
            images = torch.cat([part.images[index] * dim, *(fake.images for fake in beside)])
            labels = torch.cat([part.labels[index], *(fake.labels for fake in beside)])
            outputs = network(torch.cat([images, OUTLIERS]) if weight else images)
            loss = torch.nn.functional.cross_entropy(outputs[: len(labels)], labels, reduction="none").mean()
            if weight:
                loss = loss + weight * to_uniform(outputs[len(labels) :]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.state_dict()


@pytest.mark.parametrize("fakes", [0, 2])
@pytest.mark.parametrize(("weight", "dim"), [(0, 1), (0.5, 1), (0, 0.5), (2, 0.5)])
def test_every_step_is_the_one_written_out(fakes, weight, dim):
    part, asked = digits().a_train[:70], {}
    sets = [Split(torch.rand(9, 1, 8, 8), torch.full((9,), 10 + index)) for index in range(fakes)]
    if weight:
        asked["unlabelled"] = Unlabelled(lambda network, real: OUTLIERS, to_uniform, weight)
    if dim != 1:
        asked["alter"] = lambda network, real, _: real.images * dim
    found = trained("mlp", part, epochs=3, outputs=12, fakes=sets, batch_size=16, **asked).state_dict()
    wanted = by_hand(part, epochs=3, fakes=sets, weight=weight, dim=dim)
    assert all(torch.equal(found[key], wanted[key]) for key in found)


def test_hooks_are_given_the_network_and_the_real_images_and_observers_no_unlabelled_ones():
    part, given, labels, shares = digits().a_train[:40], [], [], []

    def alter(network, real, over):
        shares.append(over)
        given.append((network, real.labels))
        return real.images + 1

    def draw(network, real):
        given.append((network, real.labels))
        assert torch.equal(real.images.amin(), torch.tensor(1.0))  # as altered
        return OUTLIERS

    def on_batch(logits, seen, loss):
        assert len(logits) == len(seen) == len(loss)
        labels.append(seen)

    beside = Unlabelled(draw, to_uniform, 1.0)
    network = trained("mlp", part, epochs=1, batch_size=20, alter=alter, unlabelled=beside, on_batch=on_batch)
    assert [len(seen) for seen in labels] == [20, 20]
    assert shares == [0, 0.5]
    assert [which for which, _ in given] == [network] * 4
    assert all(torch.equal(given[2 * i + j][1], labels[i]) for i in (0, 1) for j in (0, 1))


def test_the_loss_of_no_class_is_least_at_the_uniform_distribution():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0], [1.0, 0.0, 0.0, 0.0]])
    loss = to_uniform(logits)
    torch.testing.assert_close(loss[:2], torch.full((2,), 4.0).log())
    torch.testing.assert_close(loss[2], -logits[2].softmax(dim=0).log().mean())
    assert loss[2] > loss[0]


def test_a_mix_draws_evenly_from_all_sets_that_hold_anything():
    sets = [Split(torch.zeros(n, 1, 1, 1), torch.full((n,), n)) for n in (5, 0, 3)]
    take = mixed(sets, 9, torch.Generator().manual_seed(0))
    for _ in range(2):
        assert [part.labels.tolist() for part in take()] == [[5] * 4, [3] * 4]
    assert [len(part) for part in mixed(sets, 0.2, torch.Generator())()] == [1, 1]
    assert mixed(sets[1:2], 9, torch.Generator())() == []


def test_shifted_images_keep_what_stays_inside_and_every_shift_comes():
    image = torch.arange(1.0, 19).view(1, 2, 3, 3)
    moved = shifted(image.expand(500, -1, -1, -1), 1, torch.Generator().manual_seed(0))
    places = {(int(r), int(c)) for r, c in (moved[:, 0] == image[0, 0, 1, 1]).nonzero()[:, 1:]}
    assert places == {(r, c) for r in range(3) for c in range(3)}
    still = (moved[:, 0, 1, 1] == image[0, 0, 1, 1]).nonzero()[0]
    assert torch.equal(moved[still], image)
    down = moved[(moved[:, 1, 2, 1] == image[0, 1, 1, 1]).nonzero()[0]]
    assert torch.equal(down[:, :, 1:], image[:, :, :2])
    assert not down[:, :, 0].any()


def test_a_shift_is_seen_in_training_alone_and_moves_no_label():
    seen = []
    part = digits().a_train[:64]
    trained("mlp", part, epochs=1, most_shift=1, on_batch=lambda logits, labels, loss: seen.append(labels))
    assert torch.equal(torch.cat(seen).sort().values, part.labels.sort().values)
    plain = trained("mlp", part, epochs=1).state_dict()
    moved = trained("mlp", part, epochs=1, most_shift=1).state_dict()
    assert not all(torch.equal(plain[key], moved[key]) for key in plain)


def test_a_replay_shows_every_image_before_any_again():
    replay = Replay(Split(torch.zeros(7, 1, 1, 1), torch.arange(7)), torch.Generator().manual_seed(0))
    seen = torch.cat([replay.take(3).labels for _ in range(7)])
    assert all(sorted(part.tolist()) == list(range(7)) for part in seen.split(7))


@pytest.mark.parametrize(("images", "epochs"), [(0, 1), (10, 0)])
def test_nothing_to_train_on(images, epochs):
    with pytest.raises(ValueError, match="expected at least one of each"):
        trained("mlp", digits().a_train[:images], epochs=epochs)


def test_small_data_sets_train_longer():
    assert default_epochs(1) == default_epochs(610) == 100
    assert default_epochs(25_500) == 8
    assert default_epochs(10**7) == 5
    assert default_batch(610) < default_batch(25_500) == default_batch(10**7) == 128
    assert default_batch(1) >= 1


def test_warped_images_differ_a_little_and_stay_images():
    image = torch.zeros(1, 1, 28, 28)
    image[:, :, 8:20, 12:16] = 1
    many = image.expand(200, -1, -1, -1).contiguous()
    bent = warped(many, torch.Generator().manual_seed(0))
    assert bent.shape == many.shape
    assert bent.min() >= 0
    assert bent.max() <= 1
    assert len({each.numpy().tobytes() for each in bent}) == 200
    mass = bent.sum(dim=(1, 2, 3))
    assert (mass / image.sum() - 1).abs().max() < 0.3  # stretched, nothing lost
    overlap = (bent * many).sum(dim=(1, 2, 3)) / image.sum()
    assert overlap.min() > 0.4
    assert 0.6 < overlap.mean() < 0.98
    assert torch.equal(bent, warped(many, torch.Generator().manual_seed(0)))
