"""The proof: no image with at most k lit pixels gives a real class more than this probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.arithmetic import plain_float32
from bench.errors import BadInputError, NonFiniteError
from bench.materials.gate import Gated, limited
from bench.proof.readers import UnsupportedLayerError
from bench.proof.rounding import softmax_slack
from bench.proof.steps import Step, check_untouched, read
from bench.proof.trace import Trace
from bench.seeds import generator
from bench.types import ImageSpec

__all__ = ["Bounds", "UnsupportedLayerError", "bounds", "proved_to", "upper_logit"]

Method = Literal["interval", "linear"]
TRIED = 32  # images that a network is asked about, whose answers its bounds should hold


@dataclass(frozen=True)
class Bounds:
    """What is proved of all images with at most k lit pixels.

    Args:
        ks: the numbers of lit pixels, as asked for.
        probability: [len(ks), K] float64 in [0, 1], on the CPU: no image with at most k lit pixels gives the real
            class a higher softmax probability, over all outputs, computed in float32.
    """

    ks: tuple[int, ...]
    probability: Tensor


def bounds(network: nn.Module, spec: ImageSpec, ks: Sequence[int], method: Method = "linear") -> Bounds:
    """Upper bounds of every real class's probability over all images with at most k lit pixels.

    Args:
        network: images [N, C, H, W] in [0, 1] to K + F logits, in float32; bounded as it is in eval mode. A
            `Gated` network needs a gate that can be bounded; its classifier adds to the bound if it can be.
        spec: the facts of its images.
        ks: numbers of lit pixels, each at least 0.
        method: "interval" is quick; "linear" is never looser, and slower by the width of the network.

    Raises:
        UnsupportedLayerError: a layer whose bounds are not known, or a network that leaves them; nothing is proved.
        BadInputError: layers that don't fit, or fewer outputs than real classes.
        NonFiniteError: weights or bounds that are not finite.
        ValueError: a negative k, or another method.
    """
    _check(ks, method)
    if not ks:
        return Bounds((), torch.zeros(0, spec.real_classes, dtype=torch.float64))
    distinct = sorted(set(ks))
    with torch.no_grad():
        probability = _probability(network, spec, distinct, method).cpu()
    if not torch.isfinite(probability).all():
        raise NonFiniteError("the network's bounds are not finite")
    # Images with few lit pixels are among those with many, so a bound for many holds for few.
    probability = probability.clamp(0, 1).flip(0).cummin(dim=0).values.flip(0)
    return Bounds(tuple(ks), probability[[distinct.index(k) for k in ks]])


def proved_to(
    network: nn.Module, spec: ImageSpec, p: Tensor | tuple[float, ...], method: Method = "linear"
) -> int | None:
    """The largest k, found by doubling and bisection, at which the bound of every real class is below its p.

    A proof at k is one at every smaller k; None if not even the blank image is proved.

    Raises:
        What `bounds` raises, and ValueError: not one p for each real class.
    """
    p = torch.as_tensor(p)
    if p.shape != (spec.real_classes,):
        raise ValueError(f"p of shape {tuple(p.shape)}; expected one for each of {spec.real_classes} real classes")
    p = torch.minimum(p.double(), p.float().double()).cpu()  # the harness compares in float32

    def proved(k: int) -> bool:
        methods = ("interval",) if method == "interval" else ("interval", method)  # the quick one first
        return any(bool((bounds(network, spec, [k], each).probability < p).all()) for each in methods)

    if not proved(0):
        return None
    low, high = 0, 1
    while high <= spec.pixels and proved(high):
        low, high = high, 2 * high
    high = min(high, spec.pixels + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if proved(middle) else (low, middle)
    return low


def upper_logit(network: nn.Module, spec: ImageSpec, k: int, method: Method = "interval") -> Tensor:
    """An upper bound, on paper, of a one-output network over all images with at most k lit pixels.

    For the loss of a network that is to be proved: a scalar in the network's own dtype, with a gradient to its
    parameters. It leaves float32's errors out; `bounds` has them. Eval-mode behaviour, whatever mode it is in.

    Raises:
        What `bounds` raises, and BadInputError: the network has more than one output.
    """
    _check([k], method)
    steps = read(network, spec.shape)
    _expect_one_output(steps)
    trace = Trace(steps, [k], linear=method == "linear", rounding=False)
    return trace.highest(torch.ones_like(trace.inputs.lit.low[:, 0, 0])).squeeze()


def _check(ks: Sequence[int], method: str) -> None:
    if method not in ("interval", "linear"):
        raise ValueError(f"method {method!r}; expected 'interval' or 'linear'")
    if any(k < 0 for k in ks):
        raise ValueError(f"ks {tuple(ks)}; expected numbers of lit pixels, 0 or more")


def _expect_one_output(steps: Sequence[Step]) -> None:
    if tuple(steps[-1].shape_out) != (1,):
        raise BadInputError(f"outputs of shape {tuple(steps[-1].shape_out)}; expected one output")


def _probability(network: nn.Module, spec: ImageSpec, ks: Sequence[int], method: Method) -> Tensor:
    """[len(ks), K], not yet clamped to [0, 1]."""
    if type(network) is Gated:
        return _gated(network, spec, ks, method)
    steps = read(network, spec.shape, torch.float64)
    outputs, real = steps[-1].shape_out, spec.real_classes
    if len(outputs) != 1 or outputs[0] < real:
        raise BadInputError(f"the network has outputs of shape {tuple(outputs)}; expected ({real} or more,)")
    margins = _highest(network, spec, steps, ks, _differences(outputs[0], real), method)
    margins = margins.view(len(ks), real, outputs[0] - 1)
    if not torch.isfinite(margins).all():
        raise NonFiniteError("the network's bounds are not finite")
    # p_t = 1 / (1 + sum_j exp(z_j - z_t)), and z_j - z_t is at least minus the margin's bound.
    return torch.sigmoid(-torch.logsumexp(-margins, dim=2)) + softmax_slack(outputs[0])


def _gated(network: Gated, spec: ImageSpec, ks: Sequence[int], method: Method) -> Tensor:
    check_untouched(network)
    if sorted(network._modules) != ["classifier", "gate"]:
        raise UnsupportedLayerError(f"Gated of {', '.join(network._modules)}")
    steps = read(network.gate, spec.shape, torch.float64)
    _expect_one_output(steps)
    gate = _highest(network.gate, spec, steps, ks, torch.ones(1, 1, dtype=torch.float64), method)
    if not torch.isfinite(gate).all():
        raise NonFiniteError("the gate's bounds are not finite")
    try:
        classifier = _probability(network.classifier, spec, ks, method).clamp(max=1)
    except UnsupportedLayerError:
        classifier = torch.ones(1, spec.real_classes, dtype=torch.float64)  # what holds of any classifier
        _check_apart(network, _tried(spec, ks[-1]).to(gate.device).float())
    outputs = _answers(network, torch.zeros(1, *spec.shape, device=gate.device)).shape[1]
    if outputs <= spec.real_classes:
        raise BadInputError(f"the network has {outputs} outputs; expected {spec.real_classes} and the gate's, or more")
    return torch.sigmoid(limited(gate)) * classifier.to(gate.device) + softmax_slack(outputs)


def _check_apart(network: Gated, images: Tensor) -> None:
    """Refuse a classifier, of any code, that has a hand in the gate: then the gate that runs is not the one bounded.

    Raises:
        UnsupportedLayerError: they share a layer or a weight's memory, or the gate is another after a pass.
    """
    gate, classifier = (list(_parts(part)) for part in (network.gate, network.classifier))
    if {*map(id, gate)} & {*map(id, classifier)} or _memory(gate) & _memory(classifier):
        raise UnsupportedLayerError("a gate that shares layers or weights with its classifier")
    before = {name: tensor.clone() for name, tensor in network.gate.state_dict().items()}
    with _in_eval_mode(network):
        network(images)
        trains = any(module.training for module in gate)
    after = network.gate.state_dict()
    if trains or not all(torch.equal(tensor, after[name]) for name, tensor in before.items()):
        raise UnsupportedLayerError("a gate that its classifier changes")


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all inside it, by their own tables, which no method of a class can hide."""
    yield module
    for child in vars(module)["_modules"].values():
        if child is not None:
            yield from _parts(child)


def _memory(modules: Sequence[nn.Module]) -> set[int]:
    """Where weights lie."""
    tables = (vars(module)[table] for module in modules for table in ("_parameters", "_buffers"))
    return {t.untyped_storage().data_ptr() for table in tables for t in table.values() if t is not None and t.numel()}


@contextmanager
def _in_eval_mode(network: nn.Module) -> Iterator[None]:
    """For a pass in plain float32; the mode is then as it was."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    plain_float32()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _answers(network: nn.Module, images: Tensor) -> Tensor:
    """What any network says in eval mode; its mode stays as it was."""
    with _in_eval_mode(network):
        return network(images)


def _highest(
    network: nn.Module, spec: ImageSpec, steps: Sequence[Step], ks: Sequence[int], rows: Tensor, method: Method
) -> Tensor:
    """Upper bounds of linear functions [R, outputs] of the output, float32 errors included -> [len(ks), R].

    Args:
        ks: in order.

    Raises:
        UnsupportedLayerError: the network itself, whose steps these are, says more than its bounds.
    """
    trace = Trace(steps, ks, linear=False, rounding=True)
    rows = rows.to(trace.inputs.lit.low.device)
    highest = trace.highest(rows)
    if method == "linear":
        linear = torch.cat([Trace(steps, [k], linear=True, rounding=True).highest(rows) for k in ks])
        highest = torch.minimum(highest, linear)
    # No proof needs this; one that was wrong would show, say a layer that float32 makes another of.
    first = next(network.parameters(), torch.zeros(()))
    said = _answers(network, _tried(spec, ks[-1]).to(first)).to(rows)
    if not bool(((said @ rows.T).amax(dim=0) <= highest[-1]).all()):
        raise UnsupportedLayerError(f"a network that leaves its own bounds ({type(network).__name__})")
    return highest


def _tried(spec: ImageSpec, k: int) -> Tensor:
    """A few images with at most k lit pixels, of full light and of any -> [`TRIED`, C, H, W]."""
    draw = generator(0, "images that bounds should hold")
    lit = torch.rand(TRIED, 1, spec.pixels, generator=draw).argsort(dim=2).argsort(dim=2) < k
    values = torch.rand(TRIED, spec.shape[0], spec.pixels, generator=draw)
    values[::2] = 1
    return spec.round((lit * values).view(TRIED, *spec.shape))


def _differences(outputs: int, real: int) -> Tensor:
    """Rows z_t - z_j for every real class t and every other output j -> [K * (outputs - 1), outputs]."""
    one = torch.eye(outputs, dtype=torch.float64)
    return torch.cat([(one[t] - one)[torch.arange(outputs) != t] for t in range(real)])
