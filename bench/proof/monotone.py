"""The non-linear steps: exact on boxes because they are monotone, and their straight lines above and below.

The lines are CROWN's (Zhang et al. 2018, https://arxiv.org/abs/1811.00866): of several that hold on the box, the one
closer to the function at the middle of the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from bench.proof.affine import Shape


@dataclass(frozen=True)
class Box:
    """Bounds of a step's output, low <= value <= high, each [N, *shape]: one row for each k."""

    low: Tensor
    high: Tensor

    def largest(self) -> Tensor:
        """The largest absolute value in each coordinate."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def highest(self, rows: Tensor) -> Tensor:
        """Upper bounds of linear functions [R, *shape] -> [N, R]."""
        rows = rows.flatten(1)
        return self.high.flatten(1) @ rows.clamp(min=0).T + self.low.flatten(1) @ rows.clamp(max=0).T

    def widen(self, slack: Tensor | float) -> Box:
        return Box(self.low - slack, self.high + slack)


@dataclass(frozen=True)
class Lines:
    """low_slope * x + low_at <= f(x) <= high_slope * x + high_at on a box; each [1, *shape]."""

    low_slope: Tensor
    low_at: Tensor
    high_slope: Tensor
    high_at: Tensor

    def carry(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Functions of f(x) [R, *shape] -> functions of x above them, [R, *shape], plus constants [1, R]."""
        up, down = rows.clamp(min=0), rows.clamp(max=0)
        constant = (up * self.high_at + down * self.low_at).flatten(1).sum(dim=1)
        return up * self.high_slope + down * self.low_slope, constant[None]


@dataclass(frozen=True)
class Elementwise:
    """A monotone function of each coordinate.

    Args:
        relative, absolute: its float32 error, as a share of the largest output and as a number.
    """

    shape_in: Shape
    relative: float = 0.0
    absolute: float = 0.0

    pixelwise = True

    @property
    def shape_out(self) -> Shape:
        return self.shape_in

    def value(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def lines(self, box: Box) -> Lines:
        """Lines on the box of its input, without its float32 error."""
        raise NotImplementedError

    def image(self, box: Box) -> Box:
        """What the step makes of a box, without its float32 error."""
        return Box(self.value(box.low), self.value(box.high))

    def unsettled(self, box: Box) -> Tensor:
        """Where the function bends inside the box, so that a tighter box gives tighter lines."""
        return box.low < box.high

    def slack(self, image: Box) -> Tensor | float:
        """Its float32 error, given the box of its output."""
        return self.relative * image.largest() + self.absolute

    def carrier(self, box: Box, rounding: bool) -> Lines:
        lines = self.lines(box)
        slack = self.slack(self.image(box)) if rounding else 0.0
        return Lines(lines.low_slope, lines.low_at - slack, lines.high_slope, lines.high_at + slack)


def slope_of(rise: Tensor, run: Tensor) -> Tensor:
    """rise / run; 0 where nothing runs, and so nothing rises."""
    return rise / torch.where(run > 0, run, 1.0)


def through(slope: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The line of a slope through a point -> slope, value at 0."""
    return slope, y - slope * x


@dataclass(frozen=True)
class Clip(Elementwise):
    """clamp(x, least, most): ReLU, ReLU6, Hardtanh."""

    least: float = 0.0
    most: float = inf

    def value(self, x: Tensor) -> Tensor:
        return x.clamp(self.least, self.most)

    def unsettled(self, box: Box) -> Tensor:
        return ((box.low < self.least) & (box.high > self.least)) | ((box.low < self.most) & (box.high > self.most))

    def lines(self, box: Box) -> Lines:
        low, high = box.low, box.high
        f_low, f_high, middle = self.value(low), self.value(high), (low + high) / 2
        rise = f_high - f_low
        # Above: from the left end to the right end or the upper corner, whichever comes first; or flat at the top.
        slope = slope_of(rise, high.clamp(max=self.most) - low)
        flat = f_low + slope * (middle - low) > f_high
        above = through(torch.where(flat, 0.0, slope), torch.where(flat, high, low), torch.where(flat, f_high, f_low))
        # Below: the mirror image. For a ReLU this is CROWN's adaptive choice between slopes 0 and 1.
        slope = slope_of(rise, high - low.clamp(min=self.least))
        flat = f_high + slope * (middle - high) < f_low
        below = through(torch.where(flat, 0.0, slope), torch.where(flat, low, high), torch.where(flat, f_low, f_high))
        return Lines(*below, *above)


@dataclass(frozen=True)
class Leaky(Elementwise):
    """x where it is positive, slope * x elsewhere, 0 <= slope <= 1."""

    slope: float = 0.01

    def value(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slope * x)

    def unsettled(self, box: Box) -> Tensor:
        return (box.low < 0) & (box.high > 0)

    def lines(self, box: Box) -> Lines:
        low, high = box.low, box.high
        f_low, f_high = self.value(low), self.value(high)
        above = through(slope_of(f_high - f_low, high - low), low, f_low)
        one = torch.ones_like(low)
        return Lines(torch.where(low + high > 0, one, self.slope * one), 0 * one, *above)


@dataclass(frozen=True)
class Curve(Elementwise):
    """Sigmoid or tanh, whose slope falls away from 0 on both sides, so an end of the box has the least of it."""

    tanh: bool = False

    def value(self, x: Tensor) -> Tensor:
        return x.tanh() if self.tanh else x.sigmoid()

    def lines(self, box: Box) -> Lines:
        f_low, f_high = self.value(box.low), self.value(box.high)
        slope_low, slope_high = (1 - f**2 if self.tanh else f * (1 - f) for f in (f_low, f_high))
        slope = torch.minimum(slope_low, slope_high)
        return Lines(*through(slope, box.low, f_low), *through(slope, box.high, f_high))


@dataclass(frozen=True)
class PoolLines:
    """Each pool lies above its input `pick`; below it too where `sure`, else below the constant `top`."""

    shape_in: Shape
    pick: Tensor
    sure: Tensor
    top: Tensor

    def carry(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows.flatten(1)
        kept = torch.where(self.sure, rows, rows.clamp(max=0))
        constant = ((rows - kept) * self.top).sum(dim=1)
        blank = torch.zeros(len(rows), self.shape_in.numel(), dtype=rows.dtype, device=rows.device)
        return blank.index_add(1, self.pick, kept).view(-1, *self.shape_in), constant[None]


@dataclass(frozen=True)
class MaxPool:
    """Max pooling; exact in floating point.

    Args:
        windows: [outputs, window] flat indices of inputs; -1 for padding.
    """

    shape_in: torch.Size
    shape_out: Shape
    windows: Tensor

    pixelwise = False

    def _views(self, values: Tensor) -> Tensor:
        """[1 or N, *shape_in] -> [N, outputs, window], padding at -inf."""
        return torch.where(self.windows < 0, -inf, values.flatten(1)[:, self.windows.clamp(min=0)])

    def image(self, box: Box) -> Box:
        low, high = (self._views(side).amax(dim=2).view(-1, *self.shape_out) for side in (box.low, box.high))
        return Box(low, high)

    def slack(self, image: Box) -> float:
        return 0.0

    def unsettled(self, box: Box) -> Tensor:
        return torch.ones_like(box.low, dtype=torch.bool)

    def carrier(self, box: Box, rounding: bool) -> PoolLines:
        low, best = self._views(box.low)[0].max(dim=1)
        views = self._views(box.high)[0]
        rivals = views.scatter(1, best[:, None], -inf).amax(dim=1)
        pick = self.windows.gather(1, best[:, None]).squeeze(1)
        return PoolLines(self.shape_in, pick, rivals <= low, views.amax(dim=1))
