"""Networks fit any image shape, follow from a seed, and all but the ResNet are made of what the proof can bound."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.harness.registry import NETWORKS as REGISTERED
from bench.materials.networks import NETWORKS, build, cnn, mlp, other, wide
from bench.materials.resnet import BatchNorm, resnet18
from bench.materials.split import Split
from bench.materials.training import train_classifier
from bench.proof.bounds import UnsupportedLayerError, proved_to
from bench.types import ImageSpec

EVERY = {**NETWORKS, "resnet18": resnet18}
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 5, 7), (3, 1, 1), (1, 64, 3), (3, 17, 33)]
sides = st.integers(1, 64)


def facts(channels: int, height: int, width: int) -> ImageSpec:
    return ImageSpec((channels, height, width), 255, ("a", "b", "c"))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_fits_the_shape_and_sees_every_pixel(name, shape):
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # Random filters leave single ReLUs shut: over a few networks every pixel has to count somewhere.
    reach = torch.zeros(shape)
    for seed in range(4):
        logits = build(EVERY[name], facts(*shape), 5, seed).eval()(images)
        assert logits.shape == (3, 5)
        reach += torch.autograd.grad(logits.square().sum(), images)[0].abs().sum(dim=0)
    assert (reach > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3]), sides, sides, st.integers(2, 20), st.sampled_from(sorted(EVERY)))
def test_any_shape_and_any_number_of_outputs(channels, height, width, outputs, name):
    network = build(EVERY[name], facts(channels, height, width), outputs, seed=1).eval()
    images = torch.rand(4, channels, height, width)
    logits = network(images)
    assert logits.shape == (4, outputs)
    assert torch.isfinite(logits).all()
    assert sum(p.numel() for p in network.parameters()) < (12_000_000 if name == "resnet18" else 4_000_000)
    # Images of a batch don't touch one another: an active set may drop some at any time.
    torch.testing.assert_close(network(images[2:3]), logits[2:3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_layers_that_the_proof_can_bound(name):
    layers = list(build(NETWORKS[name], facts(1, 28, 28), 5, seed=0).children())
    assert {type(layer) for layer in layers} <= {nn.Linear, nn.Conv2d, nn.ReLU, nn.Flatten}
    weighted = [layer for layer in layers if not isinstance(layer, nn.Flatten)]
    assert isinstance(weighted[0], nn.Linear | nn.Conv2d), "the first layer has to see the pixels themselves"


@pytest.mark.parametrize("name", EVERY)
def test_weights_follow_from_the_seed_and_nothing_else(name):
    spec = facts(1, 8, 8)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build(EVERY[name], spec, 5, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = build(EVERY[name], spec, 5, seed=3).state_dict()
    different = build(EVERY[name], spec, 5, seed=4).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key in first if first[key].unique().numel() > 1]  # normalisation starts as ones and zeros
    assert len(drawn) >= 6
    assert not any(torch.equal(first[key], different[key]) for key in drawn)


def test_a_derived_63_bit_seed_is_taken():
    build(mlp, facts(1, 8, 8), 5, seed=2**63 - 1)


def test_network_b_has_another_architecture():
    assert other(mlp) is cnn
    assert other(cnn) is mlp
    assert other(wide) is mlp
    assert other(resnet18) in (mlp, cnn)


# ResNet-18


def test_the_registry_holds_them_all():
    assert set(REGISTERED.names()) == set(EVERY)
    assert all(REGISTERED.load(name) is EVERY[name] for name in EVERY)


def test_resnet18_is_the_published_one_but_for_its_stem():
    network = build(resnet18, facts(3, 32, 32), 10, seed=0)
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    own = network.state_dict()
    assert [key for key in theirs if own[key].shape != theirs[key].shape] == ["conv1.weight"]
    assert set(own) == set(theirs)
    assert sum(p.numel() for p in network.parameters()) == 11_173_962
    sides = []
    for layer in (network.conv1, network.maxpool, network.layer1, network.layer2, network.layer3, network.layer4):
        layer.register_forward_hook(lambda module, given, made: sides.append(made.shape[-1]))
    network.eval()(torch.zeros(1, 3, 32, 32))
    assert sides == [32, 32, 32, 16, 8, 4]
    # He's rule: the variance that keeps signals as large as they came, by what each filter feeds.
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


def test_measuring_leaves_normalisation_alone_and_training_moves_it():
    network = build(resnet18, facts(1, 8, 8), 5, seed=0)
    images = torch.rand(8, 1, 8, 8)
    network.eval()(images)
    assert all(not state.any() for name, state in network.state_dict().items() if name.endswith("running_mean"))
    network.train()(images)
    assert all(state.any() for name, state in network.state_dict().items() if name.endswith("running_mean"))


def test_a_last_batch_of_one_image_trains_too():
    """Eight by eight pixels come down to one, and one value has no variance."""
    split = Split(torch.rand(17, 1, 8, 8), torch.arange(17) % 5)
    network = build(resnet18, facts(1, 8, 8), 5, seed=0)
    train_classifier(network, split, generator=torch.Generator().manual_seed(0), epochs=1, batch_size=16)
    assert not network.training
    assert torch.isfinite(network(split.images)).all()


def test_one_value_is_normalised_as_in_measuring():
    layer = BatchNorm(3)
    layer(torch.rand(5, 3, 1, 1))
    before = {name: state.clone() for name, state in layer.state_dict().items()}
    one = torch.rand(1, 3, 1, 1)
    trained = layer(one)
    assert all(torch.equal(state, before[name]) for name, state in layer.state_dict().items())
    assert torch.equal(trained, layer.eval()(one))


def test_resnet18_learns():
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    images = (torch.rand(64, 1, 4, 4, generator=draw) + labels.view(-1, 1, 1, 1)) / 2
    network, losses = build(resnet18, facts(1, 4, 4), 2, seed=0), []
    train_classifier(
        network,
        Split(images, labels),
        generator=draw,
        epochs=4,
        on_batch=lambda logits, labels, loss: losses.append(loss.mean().item()),
    )
    assert sum(losses[-4:]) < 0.1 * sum(losses[:4])


def test_no_proof_is_claimed_for_a_resnet():
    spec = facts(1, 8, 8)
    with pytest.raises(UnsupportedLayerError, match=r"^ResNet is not supported$"):
        proved_to(build(resnet18, spec, 5, seed=0), spec, (0.9,) * 3)
