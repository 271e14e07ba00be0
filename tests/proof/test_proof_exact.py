"""Bounds against the truth: closed forms, brute force, and mixed-integer programs on tiny networks."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof_zoo import facts
from scipy.optimize import LinearConstraint, milp
from torch import nn

from bench.proof.bounds import bounds, proved_to, upper_logit
from bench.proof.monotone import Box, Clip, Curve, Leaky
from bench.proof.sparse_set import windows
from bench.proof.steps import read
from bench.proof.trace import Trace

SHAPE, PIXELS = (1, 3, 3), 9


def on_paper(network: nn.Module, shape, k: int, rows: torch.Tensor, *, linear: bool = True) -> torch.Tensor:
    """Bounds without float32's errors -> [R]."""
    return Trace(read(network, shape, torch.float64), [k], linear=linear, rounding=False).highest(rows.double())[0]


def corner_images(shape, k: int) -> torch.Tensor:
    """Every image of S_k whose lit values are all 0 or 1."""
    channels, height, width = shape
    images = []
    for lit in combinations(range(height * width), min(k, height * width)):
        for values in product([0.0, 1.0], repeat=channels * len(lit)):
            image = torch.zeros(channels, height * width, dtype=torch.float64)
            image[:, list(lit)] = torch.tensor(values, dtype=torch.float64).view(channels, -1)
            images.append(image.view(shape))
    return torch.stack(images)


AFFINE = (
    ((1, 3, 3), lambda: [nn.Flatten(), nn.Linear(9, 4)]),
    ((2, 2, 3), lambda: [nn.Flatten(), nn.Linear(12, 4)]),
    ((2, 2, 3), lambda: [nn.Conv2d(2, 3, 2, padding=1), nn.Flatten(), nn.Linear(36, 3), nn.Linear(3, 4)]),
    ((2, 2, 3), lambda: [nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(6, 4)]),
)


@pytest.mark.parametrize(("shape", "layers"), AFFINE)
@pytest.mark.parametrize("linear", [False, True])
def test_networks_without_a_bend_are_bounded_exactly(shape, layers, linear):
    torch.manual_seed(0)
    network = nn.Sequential(*layers()).double().eval()
    rows = torch.randn(5, 4)
    for k in (0, 1, 2, 3):
        with torch.no_grad():
            truth = (network(corner_images(shape, k)) @ rows.double().T).amax(dim=0)
        torch.testing.assert_close(on_paper(network, shape, k, rows, linear=linear), truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 2, 3)])
def test_windows_of_a_first_convolution_are_exact(shape):
    torch.manual_seed(1)
    channels = shape[0]
    for options in (
        {"kernel_size": 2},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (2, 3), "padding": (1, 2), "stride": (2, 1)},
        {"kernel_size": 2, "dilation": 2, "padding": 2},
        {"kernel_size": 2, "groups": channels, "padding": 1},
    ):
        scale = nn.BatchNorm2d(channels)  # a prefix: dark pixels are no longer 0, and each channel has its own box
        scale.running_mean.normal_()
        network = nn.Sequential(scale, nn.Conv2d(channels, 2 * channels, **options)).double().eval()
        trace = Trace(read(network, shape), [0, 1, 3, 9], linear=False, rounding=False)
        for index, k in enumerate((0, 1, 3)):
            with torch.no_grad():
                values = network(corner_images(shape, k))
            torch.testing.assert_close(trace.boxes[-1].high[index], values.amax(dim=0), rtol=0, atol=1e-9)
            torch.testing.assert_close(trace.boxes[-1].low[index], values.amin(dim=0), rtol=0, atol=1e-9)
        step = trace.steps[0]
        units = trace.inputs.highest(step.units(torch.arange(step.flat_bias().numel())))
        torch.testing.assert_close(windows(step, trace.inputs).high.flatten(1), units, rtol=0, atol=1e-9)


def test_a_saturating_first_map_counts_lit_pixels():
    """Each pixel through min(1, 1000 x) is dark or lit, and three of the four in the middle are asked for."""
    first = nn.Conv2d(1, 1, 1)
    last = nn.Linear(9, 1)
    network = nn.Sequential(first, nn.Hardtanh(0, 1), nn.Flatten(), last).double()
    with torch.no_grad():
        first.weight.fill_(1000)
        first.bias.fill_(-0.5)
        last.weight.copy_(torch.tensor([[3, -1, 2, 0, 5, -4, 1, 1, 0.5]]))
        last.bias.fill_(-7.25)
    highest = [float(on_paper(network, SHAPE, k, torch.ones(1, 1))) for k in range(10)]
    assert highest == pytest.approx([-7.25, -2.25, 0.75, 2.75, 3.75, 4.75, 5.25, 5.25, 5.25, 5.25], abs=1e-9)


@pytest.mark.parametrize("linear", [False, True])
def test_what_mixes_channels_after_the_last_bend_is_no_prefix(linear):
    """One value a pixel, spread over three channels and summed again: their boxes would forget that it is one."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Hardtanh(0, 1), nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(27, 4)).double()
    with torch.no_grad():
        truth = network(corner_images(SHAPE, 3)).amax(dim=0)
    bound = on_paper(network, SHAPE, 3, torch.eye(4), linear=linear)
    torch.testing.assert_close(bound, truth, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(0, 9), st.sampled_from([True, False]))
def test_one_hidden_unit_is_bounded_exactly(seed, k, linear):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 1), nn.LeakyReLU(0.1), nn.Linear(1, 2)).double()
    rows = torch.randn(3, 2)
    weight, bias = network[1].weight[0].detach(), network[1].bias.detach()
    top = weight.clamp(min=0).sort(descending=True).values[:k].sum() + bias
    bottom = weight.clamp(max=0).sort().values[:k].sum() + bias
    with torch.no_grad():
        ends = network[2:](torch.stack([bottom, top])) @ rows.double().T
    torch.testing.assert_close(on_paper(network, SHAPE, k, rows, linear=linear), ends.amax(dim=0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("linear", [True, False])
def test_the_blank_image_alone_is_bounded_exactly(linear):
    torch.manual_seed(0)
    for layers in (
        [nn.Flatten(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)],
        [nn.Conv2d(1, 3, 2), nn.Hardtanh(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(3, 3)],
    ):
        network, rows = nn.Sequential(*layers).double(), torch.randn(4, 3)
        truth = (network(torch.zeros(1, *SHAPE).double()) @ rows.double().T)[0]
        bound = on_paper(network, SHAPE, 0, rows, linear=linear)
        torch.testing.assert_close(bound, truth, rtol=0, atol=1e-9)


def true_highest(first: nn.Linear, last: nn.Linear, row: np.ndarray, k: int) -> float:
    """max of row . last(relu(first(x))) over S_k: x, lit, hidden, open as variables, each ReLU by big M."""
    w, b, hidden = first.weight.detach().double().numpy(), first.bias.detach().double().numpy(), first.out_features
    goal = row @ last.weight.detach().double().numpy()
    n = w.shape[1]
    above, below = b + np.maximum(w, 0).sum(axis=1), b + np.minimum(w, 0).sum(axis=1)
    up, down = np.maximum(above, 0), np.minimum(below, 0)
    x, lit, h, on = np.split(np.eye(2 * n + 2 * hidden), np.cumsum([n, n, hidden]))
    constraints = [
        LinearConstraint(x - lit, ub=0),
        LinearConstraint(lit.sum(axis=0), ub=k),
        LinearConstraint(h - w @ x, lb=b),  # h >= w x + b
        LinearConstraint(h - w @ x - down[:, None] * on, ub=b - down),  # h <= w x + b - down (1 - on)
        LinearConstraint(h - up[:, None] * on, ub=0),
    ]
    whole = np.concatenate([np.zeros(n), np.ones(n), np.zeros(hidden), np.ones(hidden)])
    highs = np.concatenate([np.ones(2 * n), up, np.ones(hidden)])
    found = milp(-(goal @ h), constraints=constraints, integrality=whole, bounds=(0, highs), options={"mip_rel_gap": 0})
    assert found.success
    return -found.fun + float(row @ last.bias.detach().double().numpy())


@pytest.mark.parametrize("k", [1, 3, 6])
def test_bounds_hold_against_the_true_maximum(k):
    gaps = {True: [], False: []}
    for seed in range(6):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
        rows = torch.tensor([[1.0, -1, 0], [0, 1, -1]])
        truth = torch.tensor([true_highest(network[1], network[3], row, k) for row in rows.double().numpy()])
        for linear in (True, False):
            bound = on_paper(network, SHAPE, k, rows, linear=linear)
            assert (bound >= truth - 1e-6).all()
            gaps[linear].append(bound - truth)
    interval, linear = (torch.cat(gaps[which]).mean() for which in (False, True))
    assert linear <= interval


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(-8, 8), st.floats(0, 8), st.sampled_from([0, 0.3, 1]))
def test_lines_enclose_their_function(low, width, slope):
    box = Box(*(torch.tensor([[end]], dtype=torch.float64) for end in (low, low + width)))
    x = torch.linspace(0, 1, 101, dtype=torch.float64) * width + low
    for step in (
        *(Clip((1,)), Clip((1,), most=6.0), Clip((1,), least=-1.0, most=0.5), Clip((1,), least=2.0, most=2.0)),
        *(Leaky((1,), slope=slope), Curve((1,)), Curve((1,), tanh=True)),
    ):
        lines, value = step.lines(box), step.value(x)
        assert (lines.low_slope * x + lines.low_at <= value + 1e-12).all(), step
        assert (lines.high_slope * x + lines.high_at >= value - 1e-12).all(), step


@pytest.mark.parametrize(
    ("step", "low", "high", "expected"),
    [  # slopes below and above
        (Clip((1,)), -1, 3, (1, 0.75)),
        (Clip((1,)), -3, 1, (0, 0.25)),
        (Clip((1,)), 1, 3, (1, 1)),
        (Clip((1,)), -3, -1, (0, 0)),
        (Clip((1,), most=6.0), 5, 9, (0.25, 0)),  # above: x or 6, and 6 is the lower at 7
        (Clip((1,), most=6.0), 0, 7, (6 / 7, 1)),
        (Clip((1,), most=6.0), -8, 7, (0, 6 / 14)),
        (Leaky((1,), slope=0.5), -1, 3, (1, 0.875)),
        (Leaky((1,), slope=0.5), -3, 1, (0.5, 0.625)),
    ],
)
def test_lines_are_the_closer_ones(step, low, high, expected):
    lines = step.lines(Box(*(torch.tensor([[float(end)]], dtype=torch.float64) for end in (low, high))))
    assert (float(lines.low_slope), float(lines.high_slope)) == pytest.approx(expected)


def test_a_pool_with_a_clear_winner_is_its_winner():
    pool = read(nn.Sequential(nn.MaxPool2d(2)), (1, 2, 2))[0]
    low = torch.tensor([0.0, 1, 2, 5]).view(1, 1, 2, 2)
    for highs, sure in (([4.0, 4, 4, 9], True), ([6.0, 4, 4, 9], False), ([4.0, 4, 5.5, 9], False)):
        lines = pool.carrier(Box(low, torch.tensor(highs).view(1, 1, 2, 2)), rounding=True)
        assert (int(lines.pick), bool(lines.sure), float(lines.top)) == (3, sure, 9.0)


def test_proved_to_on_a_network_that_counts():
    """Class a at sigmoid(lit - 5.5): below 0.9 up to 7 lit pixels. Class b is surest on the blank image: 0.9959."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0], [0]]).expand(2, 9))
        network[1].bias.copy_(torch.tensor([-5.5, 0]))
    spec = facts(SHAPE, 2)
    for method in ("interval", "linear"):
        assert proved_to(network, spec, (0.9, 0.999), method) == 7
        assert proved_to(network, spec, torch.tensor([0.5, 0.999]), method) == 5
        assert proved_to(network, spec, (0.99, 0.999), method) == 9  # every pixel: sigmoid(3.5) = 0.97
        assert proved_to(network, spec, (0.9, 0.99), method) is None
        assert proved_to(network, spec, (0.001, 0.999), method) is None
    reached = torch.sigmoid(torch.tensor([1.5, 5.5], dtype=torch.float64))
    proved = bounds(network, spec, [7]).probability[0]
    assert ((proved - reached).abs() < 1e-4).all()
    with pytest.raises(ValueError, match="one for each"):
        proved_to(network, spec, (0.9,))


@pytest.mark.parametrize("method", ["interval", "linear"])
def test_upper_logit_can_be_trained_with(method):
    torch.manual_seed(0)
    for layers in (
        [nn.Flatten(), nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 1)],
        [
            nn.Conv2d(1, 1, 1),
            nn.Hardtanh(0, 1),
            nn.Conv2d(1, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(2, 1),
            nn.Flatten(),
            nn.Linear(4, 1),
        ],
    ):
        network = nn.Sequential(*layers)
        start = upper_logit(network, facts(SHAPE), 4, method)
        assert start.shape == ()
        assert start.dtype == torch.float32
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        for _ in range(20):
            optimizer.zero_grad()
            upper_logit(network, facts(SHAPE), 4, method).backward()
            assert all(weight.grad is not None for weight in network.parameters())
            optimizer.step()
        end = upper_logit(network, facts(SHAPE), 4, method)
        assert end < start - 0.1
        with torch.no_grad():
            assert network(corner_images(SHAPE, 4).float()).max() <= end + 1e-5


@pytest.mark.parametrize("method", ["interval", "linear"])
def test_upper_logit_has_the_slope_of_finite_differences(method):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 2, padding=1), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(32, 3), nn.ReLU(), nn.Linear(3, 1)
    )
    network = network.double()
    network[5].weight.data.abs_()  # the last ReLUs count
    weights = list(network.parameters())

    def bound(*values):
        for weight, value in zip(weights, values, strict=True):
            weight.data.copy_(value)
        return upper_logit(network, facts(SHAPE), 3, method)

    grads = torch.autograd.grad(upper_logit(network, facts(SHAPE), 3, method), weights)
    start = [weight.detach().clone() for weight in weights]
    ways = [torch.randn_like(weight) for weight in weights]
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (bound(*(w + sign * step * v for w, v in zip(start, ways, strict=True))) for sign in (1, -1))
    slope = sum((grad * way).sum() for grad, way in zip(grads, ways, strict=True))
    assert float(ahead - behind) / (2 * step) == pytest.approx(float(slope), rel=1e-4)
