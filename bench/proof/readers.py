"""How each known layer is read: (layer, shape of its input, weights) -> its step."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadInputError
from bench.proof.affine import Average, Convolution, Dense, Reshape, Scale, Shape
from bench.proof.monotone import Clip, Curve, Leaky, MaxPool
from bench.proof.rounding import UNDERFLOW, UNIT

CURVE_ERROR = 16 * UNIT  # of a float32 sigmoid or tanh; libraries promise a few units in the last place
SCALE_TERMS = 8  # roundings on the way through batch normalisation, whichever way a library orders it
LEAST = 2.0**-100  # of a scale or another scalar that is not 0; below, float32 rounds by more than a relative error
MOST_FACTOR = 2.0**60  # of batch normalisation, and of 1 / its least; beyond, float32 ends before its products do
LOST = 2.0**-40  # added to its mass: a share of it, gamma, is more than a product flushed to 0 times such a factor


class UnsupportedLayerError(Exception):
    """No proof: a layer whose bounds are not known. The message is "LAYER is not supported"."""

    def __init__(self, layer: str):
        super().__init__(f"{layer} is not supported")


class Weights:
    """Takes a network's weights as they are, with their gradients, or as copies in another dtype."""

    def __init__(self, network: nn.Module, dtype: torch.dtype | None):
        first = next(network.parameters(), torch.zeros(()))
        self.dtype = dtype
        self.zero = torch.zeros((), dtype=dtype or first.dtype, device=first.device)

    def __call__(self, weight: Tensor | None) -> Tensor:
        if weight is None:
            return self.zero
        return weight if self.dtype is None else weight.detach().to(self.dtype)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def refuse(wrong: bool, layer: nn.Module, what: str) -> None:
    if wrong:
        raise UnsupportedLayerError(f"{type(layer).__name__} {what}")


def expect(fits: bool, layer: nn.Module, shape: Shape) -> None:
    if not fits:
        raise BadInputError(f"{layer} does not fit values of shape {shape}; check the layers before it")


def pooled(layer: nn.Module, shape: Shape, function, *weights: Tensor, **options) -> Shape:
    """The shape that a windowed function makes of one input, found on a device that computes nothing."""
    expect(len(shape) == 3, layer, shape)
    try:
        return tuple(function(torch.zeros(1, *shape, device="meta"), *weights, **options).shape[1:])
    except RuntimeError:
        raise BadInputError(f"{layer} does not fit values of shape {shape}; check the layers before it") from None


def linear(layer: nn.Linear, shape: Shape, weights: Weights) -> Dense:
    outputs, inputs = layer.weight.shape
    expect(shape == (inputs,), layer, shape)
    return Dense(shape, (outputs,), weights(layer.bias), inputs, weights(layer.weight))


def conv(layer: nn.Conv2d, shape: Shape, weights: Weights) -> Convolution:
    refuse(layer.padding_mode != "zeros", layer, f"with padding_mode={layer.padding_mode}")
    refuse(layer.padding == "same", layer, "with padding='same'")
    padding = (0, 0) if layer.padding == "valid" else pair(layer.padding)
    options = {"stride": pair(layer.stride), "padding": padding, "dilation": pair(layer.dilation)}
    options["groups"] = layer.groups
    ghost = torch.zeros(layer.weight.shape, device="meta")
    out = pooled(layer, shape, F.conv2d, ghost, **options)
    weight, bias = weights(layer.weight), weights(layer.bias).view(-1, 1, 1)
    return Convolution(shape, out, bias, prod(layer.weight.shape[1:]), weight, **options)


def batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape, weights: Weights) -> Scale:
    refuse(layer.running_mean is None or layer.running_var is None, layer, "without running statistics")
    flat = type(layer) is nn.BatchNorm1d
    expect(len(shape) == (1 if flat else 3) and shape[:1] == layer.running_mean.shape, layer, shape)
    refuse(layer.eps < 0 or bool((layer.running_var < 0).any()), layer, "with a negative variance")  # the sum cancels
    inverse = (weights(layer.running_var) + layer.eps).rsqrt()
    scale = inverse if layer.weight is None else inverse * weights(layer.weight)
    # Libraries multiply in any order, and each order should come to what is on paper.
    for factor in (inverse, 1 / inverse, weights(layer.weight), weights(layer.running_mean)):
        refuse(not bool((factor.abs() <= MOST_FACTOR).all()), layer, f"with a factor beyond {MOST_FACTOR:.0e}")
    tiny = (scale != 0) & (scale.abs() < LEAST)
    refuse(bool(tiny.any()), layer, f"with a scale below {LEAST:.0e}")
    moved, shift = weights(layer.running_mean) * scale, weights(layer.bias)
    mass = moved.abs() + shift.abs() + LOST
    scale, bias, mass = (t if flat else t.view(-1, 1, 1) for t in (scale, shift - moved, mass))
    return Scale(shape, shape, bias, SCALE_TERMS, scale, mass)


def average(layer: nn.AvgPool2d, shape: Shape, weights: Weights) -> Average:
    refuse(layer.divisor_override is not None, layer, "with divisor_override")
    kernel = pair(layer.kernel_size)
    options = {"kernel_size": kernel, "stride": pair(layer.stride), "padding": pair(layer.padding)}
    options |= {"ceil_mode": layer.ceil_mode, "count_include_pad": layer.count_include_pad}
    return Average(shape, pooled(layer, shape, F.avg_pool2d, **options), weights.zero, prod(kernel), options)


def global_average(layer: nn.AdaptiveAvgPool2d, shape: Shape, weights: Weights) -> Average:
    refuse(pair(layer.output_size) != (1, 1), layer, f"with output_size={layer.output_size}")
    expect(len(shape) == 3, layer, shape)
    options = {"kernel_size": shape[1:]}
    return Average(shape, (shape[0], 1, 1), weights.zero, prod(shape[1:]), options)


def max_pool(layer: nn.MaxPool2d, shape: Shape, weights: Weights) -> MaxPool:
    refuse(layer.ceil_mode, layer, "with ceil_mode=True")
    refuse(layer.return_indices, layer, "with return_indices=True")
    window = {"stride": pair(layer.stride), "padding": pair(layer.padding), "dilation": pair(layer.dilation)}
    kernel = pair(layer.kernel_size)
    out = pooled(layer, shape, F.max_pool2d, kernel_size=kernel, **window)
    # Numbers from 1 on, so that the zeros unfold pads with are told apart.
    numbers = torch.arange(1, prod(shape) + 1, dtype=torch.float64).view(1, *shape)
    windows = F.unfold(numbers, kernel, **window).view(shape[0], prod(kernel), -1)
    windows = windows.transpose(1, 2).reshape(-1, prod(kernel)).long() - 1
    refuse(bool((windows < 0).all(dim=1).any()), layer, "with a window that is all padding")
    return MaxPool(torch.Size(shape), out, windows.to(weights.zero.device))


def flatten(layer: nn.Flatten, shape: Shape, weights: Weights) -> Reshape:
    whole = layer.start_dim == 1 and layer.end_dim in (-1, len(shape))
    refuse(not whole, layer, f"from {layer.start_dim} to {layer.end_dim}")
    return Reshape(shape, (prod(shape),), weights.zero, 0)


def hardtanh(layer: nn.Hardtanh | nn.ReLU6, shape: Shape, weights: Weights) -> Clip:
    low, high = float(layer.min_val), float(layer.max_val)
    refuse(any(0 < abs(end) < LEAST for end in (low, high)), layer, f"that ends at less than {LEAST:.0e}")
    return Clip(shape, relative=2 * UNIT, least=low, most=high)  # the ends themselves are rounded to float32


def leaky(layer: nn.LeakyReLU, shape: Shape, weights: Weights) -> Leaky:
    slope = float(layer.negative_slope)
    refuse(not (slope == 0 or LEAST <= slope <= 1), layer, f"with negative_slope={slope:g}")
    return Leaky(shape, relative=4 * UNIT, absolute=UNDERFLOW, slope=slope)


READERS = {
    nn.Linear: linear,
    nn.Conv2d: conv,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.AvgPool2d: average,
    nn.AdaptiveAvgPool2d: global_average,
    nn.MaxPool2d: max_pool,
    nn.Flatten: flatten,
    nn.ReLU: lambda layer, shape, weights: Clip(shape),
    nn.ReLU6: hardtanh,
    nn.Hardtanh: hardtanh,
    nn.LeakyReLU: leaky,
    nn.Sigmoid: lambda layer, shape, weights: Curve(shape, absolute=CURVE_ERROR),
    nn.Tanh: lambda layer, shape, weights: Curve(shape, absolute=CURVE_ERROR, tanh=True),
}
