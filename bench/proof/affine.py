"""The affine steps of a network: forwards, backwards (transposed) and with absolute weights.

A step maps x [N, *shape_in] to linear(x) + bias. `absolute` is the same step with the absolute value of every
weight and of every bias: what it gives for |x| is the mass |W||x| + |b| that a rounding error is a share of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Affine:
    """What every affine step has.

    Args:
        shape_in, shape_out: of one image, without the batch.
        bias: broadcasts to [N, *shape_out].
        fan_in: terms summed for one output, the bias not counted; 0 where nothing is computed.
    """

    shape_in: Shape
    shape_out: Shape
    bias: Tensor
    fan_in: int

    pixelwise = False  # True: each pixel's output depends on that pixel alone, by one rule for all pixels
    diagonal = False  # True: each output depends on one input alone

    def linear(self, x: Tensor) -> Tensor:
        """[N, *shape_in] -> [N, *shape_out], without the bias; pixelwise steps take any height and width."""
        raise NotImplementedError

    def transpose(self, rows: Tensor) -> Tensor:
        """Linear functions of the output [R, *shape_out] as functions of the input [R, *shape_in]."""
        raise NotImplementedError

    def absolute(self) -> Affine:
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.bias

    def units(self, index: Tensor) -> Tensor:
        """The linear parts of the outputs at a flat index [R], as functions of the input [R, *shape_in]."""
        rows = torch.zeros(len(index), prod(self.shape_out), dtype=self.bias.dtype, device=index.device)
        rows[torch.arange(len(index), device=index.device), index] = 1
        return self.transpose(rows.view(-1, *self.shape_out))

    def flat_bias(self) -> Tensor:
        """The bias of every output -> [outputs]."""
        return self.bias.expand(1, *self.shape_out).flatten()


@dataclass(frozen=True)
class Dense(Affine):
    weight: Tensor

    def linear(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def transpose(self, rows: Tensor) -> Tensor:
        return rows @ self.weight

    def units(self, index: Tensor) -> Tensor:
        return self.weight[index]

    def absolute(self) -> Dense:
        return replace(self, weight=self.weight.abs(), bias=self.bias.abs())


@dataclass(frozen=True)
class Convolution(Affine):
    weight: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def pixelwise(self) -> bool:
        one = self.weight.shape[2:] == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)
        return one and self.groups == 1

    def linear(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, rows: Tensor) -> Tensor:
        # The whole reach of the windows, padding included; then the image itself is cut out of it.
        rows = F.conv_transpose2d(rows, self.weight, stride=self.stride, dilation=self.dilation, groups=self.groups)
        (_, height, width), (top, left) = self.shape_in, self.padding
        rows = F.pad(rows, (0, max(0, left + width - rows.shape[3]), 0, max(0, top + height - rows.shape[2])))
        return rows[:, :, top : top + height, left : left + width]

    def absolute(self) -> Convolution:
        return replace(self, weight=self.weight.abs(), bias=self.bias.abs())


@dataclass(frozen=True)
class Scale(Affine):
    """Batch normalisation in eval mode: (x - mean) * scale + shift, channel by channel."""

    scale: Tensor
    mass: Tensor  # |mean * scale| + |shift|: `bias` may have cancelled, its rounding has not

    diagonal = True

    @property
    def pixelwise(self) -> bool:
        return len(self.shape_in) == 3  # of flat values, each has a scale of its own

    def linear(self, x: Tensor) -> Tensor:
        return x * self.scale

    def transpose(self, rows: Tensor) -> Tensor:
        return rows * self.scale

    def absolute(self) -> Scale:
        return replace(self, scale=self.scale.abs(), bias=self.mass)


@dataclass(frozen=True)
class Average(Affine):
    """Average pooling."""

    options: dict

    def linear(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, **self.options)

    def transpose(self, rows: Tensor) -> Tensor:
        blank = torch.zeros(len(rows), *self.shape_in, dtype=rows.dtype, device=rows.device)
        return torch.func.vjp(self.linear, blank)[1](rows)[0]

    def absolute(self) -> Average:
        return self


@dataclass(frozen=True)
class Reshape(Affine):
    """Flattening: nothing is computed."""

    def linear(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape_out)

    def transpose(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, *self.shape_in)

    def absolute(self) -> Reshape:
        return self
