"""A gated network's softmax is a product, and so is its bound."""

from __future__ import annotations

import pytest
import torch
from proof_zoo import facts
from torch import nn

from bench.errors import BadInputError
from bench.materials.gate import Gated
from bench.proof.bounds import UnsupportedLayerError, bounds, proved_to
from bench.proof.rounding import softmax_slack
from bench.types import lit_pixels

SHAPE = (1, 4, 4)


def small(outputs: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, outputs))


class Fixed(nn.Module):
    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logits]))

    def forward(self, images):
        return self.logits.expand(len(images), -1)


@pytest.mark.parametrize("outputs", [3, 6])
def test_softmax_is_the_product(outputs):
    network = Gated(small(outputs), small(1, 1))
    images = torch.rand(50, *SHAPE)
    with torch.no_grad():
        found = network(images).softmax(dim=1)
        inside, gate = network.classifier(images).softmax(dim=1), network.gate(images).sigmoid()
    torch.testing.assert_close(found, torch.cat([inside * gate, 1 - gate], dim=1))


@pytest.mark.parametrize("a", [0.0, 50.0, -50.0, 1e4, -1e4, 3.4e38, -3.4e38, float("inf"), -float("inf")])
def test_logits_stay_finite_and_right(a):
    network = Gated(Fixed(3e38, -3e38, 3e38), Fixed(a))
    logits = network(torch.zeros(2, *SHAPE))
    assert torch.isfinite(logits).all()
    gate = torch.tensor(a).sigmoid()
    torch.testing.assert_close(logits.softmax(dim=1)[0], torch.stack([gate / 2, 0 * gate, gate / 2, 1 - gate]))


@pytest.mark.parametrize("a", [-1e6, -200.0, 0.0, 200.0])
def test_a_saturated_gate_still_has_a_slope(a):
    network = Gated(Fixed(1.0, 0.0, 0.0), Fixed(a))
    logits = network(torch.zeros(1, *SHAPE))
    (logits[0, 0] - logits[0, 3]).backward()
    assert float(network.gate.logits.grad) == pytest.approx(1)


def test_nan_is_not_hidden():
    assert Gated(Fixed(float("nan"), 0.0), Fixed(1.0))(torch.zeros(1, *SHAPE)).isnan().any()
    assert Gated(Fixed(1.0, 0.0), Fixed(float("nan")))(torch.zeros(1, *SHAPE)).isnan().any()


def test_a_layer_that_works_in_place_does_not_reach_the_other_network():
    brighten = nn.Sequential(nn.Hardtanh(0.5, 1, inplace=True), *small(3))
    images = torch.rand(5, *SHAPE) / 3
    kept = images.clone()
    with torch.no_grad():
        found = Gated(brighten, small(1, 1))(images).softmax(dim=1)[:, -1]
        swapped = Gated(small(3), nn.Sequential(nn.Hardtanh(0.5, 1, inplace=True), *small(1, 1)))
        inside = swapped(images)[:, :3].softmax(dim=1)
    assert torch.equal(images, kept)
    torch.testing.assert_close(found, 1 - small(1, 1)(kept).sigmoid().squeeze(1).detach())
    torch.testing.assert_close(inside, small(3)(kept).softmax(dim=1).detach())


@pytest.mark.parametrize("method", ["interval", "linear"])
def test_the_bound_is_the_product_of_bounds(method):
    network, ks = Gated(small(5), small(1, 1)), range(17)
    proved = bounds(network, facts(SHAPE), ks, method).probability
    inside = bounds(network.classifier, facts(SHAPE), ks, method).probability
    pair = nn.Sequential(*network.gate[:3], nn.Linear(8, 2))  # [a, 0]: its softmax is sigmoid(a)
    with torch.no_grad():
        pair[3].weight.copy_(torch.cat([network.gate[3].weight, torch.zeros(1, 8)]))
        pair[3].bias.copy_(torch.cat([network.gate[3].bias, torch.zeros(1)]))
    gate = bounds(pair, facts(SHAPE, 1), ks, method).probability
    torch.testing.assert_close(proved, (inside * gate).clamp(max=1), rtol=0, atol=1e-4)
    images = (torch.rand(3000, *SHAPE) * (torch.rand(3000, *SHAPE) < torch.rand(3000, 1, 1, 1))).float()
    with torch.no_grad():
        assert (network(images).softmax(dim=1)[:, :3].double() <= proved[lit_pixels(images)]).all()


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = small(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.inner(self.dropout(images)) * 2


def test_a_classifier_that_is_not_known_is_no_obstacle():
    gate = small(1, 1)
    with torch.no_grad():
        gate[3].bias.sub_(3)
    network = Gated(Unknown(), gate).train()
    proved = bounds(network, facts(SHAPE), [0, 4]).probability
    assert torch.equal(proved[:, :1].expand(-1, 3), proved)
    blank = gate(torch.zeros(1, *SHAPE)).sigmoid().item()
    assert proved[0, 0].item() == pytest.approx(blank + softmax_slack(4), abs=1e-5)
    assert proved_to(network, facts(SHAPE), (0.9,) * 3) is not None
    assert all(module.training for module in network.modules())


def test_a_gate_that_is_not_known_is_refused():
    with pytest.raises(UnsupportedLayerError, match="GELU is not supported"):
        bounds(Gated(small(3), nn.Sequential(*small(8), nn.GELU(), nn.Linear(8, 1))), facts(SHAPE), [1])
    with pytest.raises(BadInputError, match="one output"):
        bounds(Gated(small(3), small(2)), facts(SHAPE), [1])
    with pytest.raises(BadInputError, match="3 outputs"):
        bounds(Gated(Fixed(0.0, 0.0), small(1)), facts(SHAPE), [1])


def test_a_changed_gated_network_is_refused():
    class Doubled(Gated):
        def forward(self, images):
            return 2 * super().forward(images)

    with pytest.raises(UnsupportedLayerError, match="Doubled"):
        bounds(Doubled(small(3), small(1)), facts(SHAPE), [1])
    network = Gated(small(3), small(1))
    network.register_forward_hook(lambda *args: None)
    with pytest.raises(UnsupportedLayerError, match="Gated with a forward hook"):
        bounds(network, facts(SHAPE), [1])
    with pytest.raises(UnsupportedLayerError, match="Gated"):
        bounds(nn.Sequential(Gated(small(3), small(1))), facts(SHAPE), [1])


@pytest.mark.parametrize("method", ["interval", "linear"])
def test_of_gates_before_one_another_every_one_that_is_known_bounds(method):
    known = Gated(Gated(small(3), small(1, 1)), small(1, 2))
    inside = Gated(small(3), small(1, 1))
    inside_unknown = Gated(Gated(small(3), Fixed(5.0)), small(1, 2))
    alone = Gated(Unknown(), small(1, 2))
    ks = [0, 4, 16]
    gate, both, inner = (bounds(x, facts(SHAPE), ks, method).probability for x in (alone, known, inside))
    torch.testing.assert_close(both, (gate * inner).clamp(max=1), rtol=0, atol=1e-4)
    torch.testing.assert_close(bounds(inside_unknown, facts(SHAPE), ks, method).probability, gate, rtol=0, atol=1e-5)
    with pytest.raises(UnsupportedLayerError, match="Fixed is not supported"):
        bounds(inside_unknown.classifier, facts(SHAPE), ks, method)


def test_a_classifier_that_answers_with_a_tensor_of_its_own_kind_is_refused():
    class Owned(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return (
                torch.tensor([[9.0, 0.0, 0.0]]) if func is torch.cat else super().__torch_function__(func, types, args)
            )

    class Answers(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 2).as_subclass(Owned)

    with pytest.raises(TypeError, match="answers with a Owned; expected a Tensor"):
        Gated(Answers(), nn.Sequential(nn.Flatten(), nn.Linear(16, 1)))(torch.zeros(1, 1, 4, 4))


class Meddles(nn.Module):
    """A classifier with a hand in the gate: it holds what it changes as a submodule, or in a list that nothing sees."""

    def __init__(self, gate, meddle, shown):
        super().__init__()
        self.held = [gate]
        if shown:
            self.gate = gate
        self.meddle = meddle

    def forward(self, images):
        self.meddle(self.held[0])
        return torch.zeros(len(images), 2)


def open_it(gate):
    gate[1].bias.data.fill_(20)


@pytest.mark.parametrize(
    ("meddle", "shown", "what"),
    [
        (lambda gate: None, True, "a gate that shares layers or weights with its classifier"),
        (open_it, False, "a gate that its classifier changes"),
        (lambda gate: gate.train(), False, "a gate that its classifier changes"),
    ],
    ids=["shared", "written", "in training mode"],
)
def test_no_proof_behind_a_classifier_that_has_a_hand_in_the_gate(meddle, shown, what):
    gate = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.BatchNorm1d(1))
    nn.init.constant_(gate[1].bias, -20.0)
    with pytest.raises(UnsupportedLayerError, match=what):
        bounds(Gated(Meddles(gate, meddle, shown), gate).eval(), facts((1, 4, 4), real=2), [1])


def test_no_proof_for_weights_that_a_classifier_shares_under_another_name():
    gate = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    classifier = Meddles(nn.Identity(), lambda gate: None, shown=False)
    classifier.own = nn.Parameter(gate[1].weight.detach()[:, :4])
    with pytest.raises(UnsupportedLayerError, match="shares"):
        bounds(Gated(classifier, gate).eval(), facts((1, 4, 4), real=2), [1])


def test_no_classifier_hides_what_it_shares():
    class Hides(Meddles):
        def named_modules(self, *args, **kwargs):
            return iter([("", self)])

        def named_parameters(self, *args, **kwargs):
            return iter(())

    gate = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    with pytest.raises(UnsupportedLayerError, match="shares"):
        bounds(Gated(Hides(gate, lambda gate: None, shown=True), gate).eval(), facts((1, 4, 4), real=2), [1])


def test_no_proof_for_a_gate_that_is_no_submodule():
    network = Gated(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), nn.Sequential(nn.Flatten(), nn.Linear(16, 1)))
    network.__dict__["gate"] = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    with pytest.raises(UnsupportedLayerError, match="Gated with a gate of"):
        bounds(network.eval(), facts((1, 4, 4), real=2), [1])
