"""What can't be bounded is refused by name, never guessed at."""

from __future__ import annotations

import pytest
import torch
from proof_zoo import facts
from torch import nn
from torch.nn.utils import parametrizations

from bench.errors import BadInputError
from bench.materials.gate import Gated
from bench.proof.bounds import UnsupportedLayerError, bounds, proved_to, upper_logit
from bench.proof.monotone import Clip
from bench.proof.readers import READERS

SHAPE = (1, 4, 4)


class Louder(nn.Linear):
    def forward(self, x):
        return 10 * super().forward(x)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 3)

    def forward(self, x):
        return self.inner(x.flatten(1)) * 2


class Twice(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 2


def hooked(layer, kind):
    getattr(layer, f"register_{kind}")(lambda *args: None)
    return layer


def overridden(layer, name):
    setattr(layer, name, lambda *args: layer)
    return layer


def compiled():
    layer = nn.Linear(16, 3)
    layer._compiled_call_impl = layer.forward  # as Module.compile does, without the compiler
    return layer


def detached():
    layer = nn.Linear(16, 3)
    weight = layer.weight.detach()
    del layer.weight
    layer.weight = weight
    return layer


def normed(variance=1.0, weight=1.0, eps=1e-5, mean=0.0):
    """A normalisation that float32 makes another of: by cancellation, near zero, or where a sum overflows."""
    layer = nn.BatchNorm1d(16, eps=eps)
    layer.running_var.fill_(variance)
    layer.running_mean.fill_(mean)
    nn.init.constant_(layer.weight, weight)
    return layer


class SaysItIsLinear(type(nn.Module)):
    """A class that is equal to another one."""

    def __eq__(cls, other):
        return other is nn.Linear or cls is other

    def __hash__(cls):
        return hash(nn.Linear)


class Otherwise(nn.Module, metaclass=SaysItIsLinear):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(3, 16)), nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return 9 * x[:, :3]


class TwoFaced(dict):
    """Hands its first reader something else than what runs."""


def two_faced(network):
    network.__dict__["_modules"] = TwoFaced(network._modules)
    return network


def hidden(network):
    """A layer that is no submodule: `eval` never reaches it."""
    network.__dict__["beside"] = nn.BatchNorm1d(16)
    return network


class Slope(float):
    pass


REFUSED = {
    "Otherwise": lambda: [nn.Flatten(), Otherwise()],
    "Sequential with a _modules of type TwoFaced": lambda: [nn.Flatten(), two_faced(nn.Sequential(nn.Linear(16, 3)))],
    "Linear with a beside of type BatchNorm1d": lambda: [nn.Flatten(), hidden(nn.Linear(16, 3))],
    "LeakyReLU with a negative_slope of type Slope": lambda: [nn.Flatten(), nn.LeakyReLU(Slope(0.1))],
    "MaxPool2d with a window that is all padding": lambda: [
        nn.MaxPool2d(2, stride=1, padding=1, dilation=5),
        nn.Flatten(),
    ],
    "GELU": lambda: [nn.Flatten(), nn.GELU(), nn.Linear(16, 3)],
    "Louder": lambda: [nn.Flatten(), Louder(16, 3)],
    "Wrapped": lambda: [Wrapped()],
    "Twice": lambda: [Twice(nn.Flatten(), nn.Linear(16, 3))],
    "Linear with a forward hook": lambda: [nn.Flatten(), hooked(nn.Linear(16, 3), "forward_hook")],
    "Flatten with a forward hook": lambda: [hooked(nn.Flatten(), "forward_pre_hook"), nn.Linear(16, 3)],
    "Identity with a forward hook": lambda: [nn.Flatten(), hooked(nn.Identity(), "forward_hook"), nn.Linear(16, 3)],
    "Linear with a forward of its own": lambda: [nn.Flatten(), overridden(nn.Linear(16, 3), "forward")],
    "Conv2d with a _conv_forward of its own": lambda: [overridden(nn.Conv2d(1, 1, 1), "_conv_forward"), nn.Flatten()],
    "Dropout with a train of its own": lambda: [overridden(nn.Dropout(), "train"), nn.Flatten(), nn.Linear(16, 3)],
    "Linear with a weight that is no parameter": lambda: [nn.Flatten(), detached()],
    "Linear compiled": lambda: [nn.Flatten(), compiled()],
    "ParametrizedLinear": lambda: [nn.Flatten(), parametrizations.weight_norm(nn.Linear(16, 3))],
    "Conv2d with padding_mode=reflect": lambda: [nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Flatten()],
    "Conv2d with padding='same'": lambda: [nn.Conv2d(1, 1, 2, padding="same"), nn.Flatten()],
    "BatchNorm2d without running statistics": lambda: [nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten()],
    "BatchNorm1d with a negative variance": lambda: [nn.Flatten(), normed(variance=-9e-6), nn.Linear(16, 3)],
    "BatchNorm1d with a scale below 8e-31": lambda: [nn.Flatten(), normed(weight=1e-45), nn.Linear(16, 3)],
    "MaxPool2d with ceil_mode=True": lambda: [nn.MaxPool2d(3, ceil_mode=True), nn.Flatten()],
    "MaxPool2d with return_indices=True": lambda: [nn.MaxPool2d(2, return_indices=True), nn.Flatten()],
    "AvgPool2d with divisor_override": lambda: [nn.AvgPool2d(2, divisor_override=1), nn.Flatten()],
    "AdaptiveAvgPool2d with output_size=2": lambda: [nn.AdaptiveAvgPool2d(2), nn.Flatten()],
    "LeakyReLU with negative_slope=-0.1": lambda: [nn.Flatten(), nn.LeakyReLU(-0.1)],
    "LeakyReLU with negative_slope=1e-50": lambda: [nn.Flatten(), nn.LeakyReLU(1e-50)],  # 0 in float32
    "Hardtanh that ends at less than 8e-31": lambda: [nn.Flatten(), nn.Hardtanh(-1e-50, 0.0)],
    "LeakyReLU with negative_slope=2": lambda: [nn.Flatten(), nn.LeakyReLU(2.0)],
    "Flatten from 2 to -1": lambda: [nn.Flatten(2), nn.Flatten()],
    "Flatten from 0 to -1": lambda: [nn.Flatten(0), nn.Linear(16, 3)],
    "Softmax": lambda: [nn.Flatten(), nn.Linear(16, 3), nn.Softmax(dim=1)],
    "ConvTranspose2d": lambda: [nn.ConvTranspose2d(1, 1, 2), nn.Flatten()],
    "Linear in torch.float16": lambda: [nn.Flatten(), nn.Linear(16, 3).half()],
    "PReLU": lambda: [nn.PReLU(), nn.Flatten()],
}


@pytest.mark.parametrize(
    "beyond",
    [
        {"variance": 3e38, "eps": 1e38},  # a sum that is infinite in float32: the layer's output is its shift
        {"eps": 1e39, "weight": 3e19},
        {"variance": 0.0, "eps": 1e-50},  # and one that is 0
        {"weight": 2e18},
        {"mean": -3e38},
    ],
)
def test_no_proof_for_a_normalisation_that_float32_does_not_hold(beyond):
    network = nn.Sequential(nn.Flatten(), normed(**beyond), nn.Linear(16, 3)).eval()
    with pytest.raises(UnsupportedLayerError, match=r"BatchNorm1d with a factor beyond 1e\+18"):
        bounds(network, facts(SHAPE), [1])


@pytest.mark.parametrize("name", REFUSED)
def test_no_proof_for_what_is_not_known(name):
    network = nn.Sequential(*REFUSED[name]()).eval()
    for prove in (
        lambda: bounds(network, facts(SHAPE), [1]),
        lambda: bounds(network, facts(SHAPE), [1], "interval"),
        lambda: proved_to(network, facts(SHAPE), (0.9,) * 3),
        lambda: upper_logit(network, facts(SHAPE), 1),
    ):
        with pytest.raises(UnsupportedLayerError) as refusal:
            prove()
        assert str(refusal.value) == f"{name} is not supported"


def test_the_network_itself_may_not_be_changed_either():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(UnsupportedLayerError, match="Sequential with a forward hook"):
        bounds(hooked(network, "forward_hook"), facts(SHAPE), [1])
    with pytest.raises(UnsupportedLayerError, match="Twice"):
        bounds(Twice(nn.Flatten(), nn.Linear(16, 3)), facts(SHAPE), [1])


def test_a_hook_on_every_module_is_refused():
    handle = nn.modules.module.register_module_forward_hook(lambda *args: None)
    try:
        with pytest.raises(UnsupportedLayerError, match="global"):
            bounds(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), facts(SHAPE), [1])
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.Flatten(), nn.Linear(15, 3)],
        lambda: [nn.Linear(4, 3), nn.Flatten()],
        lambda: [nn.Conv2d(3, 1, 3), nn.Flatten()],
        lambda: [nn.Conv2d(1, 1, 9), nn.Flatten()],
        lambda: [nn.Flatten(), nn.AvgPool2d(2)],
        lambda: [nn.BatchNorm2d(2), nn.Flatten()],
        lambda: [nn.Flatten(), nn.Linear(16, 2)],  # fewer outputs than real classes
        lambda: [nn.Conv2d(1, 3, 4)],  # outputs that are not flat
        lambda: [nn.Identity()],
    ],
)
def test_layers_that_do_not_fit_are_bad_input(layers):
    with pytest.raises(BadInputError):
        bounds(nn.Sequential(*layers()), facts(SHAPE), [1])


def test_upper_logit_wants_one_output():
    with pytest.raises(BadInputError, match="one output"):
        upper_logit(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), facts(SHAPE), 1)


def test_arguments_that_make_no_sense():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(ValueError, match="0 or more"):
        bounds(network, facts(SHAPE), [-1])
    with pytest.raises(ValueError, match="method"):
        bounds(network, facts(SHAPE), [1], "exact")
    with pytest.raises(ValueError, match="0 or more"):
        upper_logit(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), facts(SHAPE), -1)
    assert torch.isfinite(bounds(network, facts(SHAPE), [0]).probability).all()


@pytest.mark.parametrize("method", ["interval", "linear"])
def test_a_bound_that_the_network_itself_breaks_is_refused(method, monkeypatch):
    """Whatever a reader gets wrong: here, that a ReLU lets nothing through."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    assert bounds(network, facts(SHAPE), [3], method).probability.max() < 1
    monkeypatch.setitem(READERS, nn.ReLU, lambda layer, shape, weights: Clip(shape, most=0.0))
    with pytest.raises(UnsupportedLayerError, match=r"a network that leaves its own bounds \(Sequential\)"):
        bounds(network, facts(SHAPE), [3], method)
    gated = Gated(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), nn.Sequential(*network[:3], nn.Linear(8, 1)))
    with pytest.raises(UnsupportedLayerError, match="leaves its own bounds"):
        bounds(gated, facts(SHAPE), [3], method)
