"""A network's steps walked over S_k: the box of every value on the way, and how linear functions are carried back.

Interval bounds (Gowal et al. 2018, https://arxiv.org/abs/1810.12715), but exact up to the first non-linear step, and
CROWN's linear bounds (Zhang et al. 2018, https://arxiv.org/abs/1811.00866), which are carried back to S_k itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from bench.proof.affine import Affine, Convolution, Reshape
from bench.proof.monotone import Box, Elementwise, Lines, PoolLines
from bench.proof.rounding import error_of
from bench.proof.sparse_set import SparseSet, windows
from bench.proof.steps import Step

CHUNK = 2**21  # numbers in one batch of linear functions, at the widest step: 16 MB in float64


@dataclass(frozen=True)
class AffineCarrier:
    """An affine step with the float32 error of its outputs, [len(ks), outputs]; None on paper."""

    step: Affine
    error: Tensor | None

    def carry(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Functions of the output [R, *shape_out] -> above them, of the input, plus constants [len(ks) or 1, R]."""
        flat = rows.flatten(1)
        return self.step.transpose(rows), self.constant(flat, slice(None))

    def constant(self, flat: Tensor, units: slice | Tensor) -> Tensor:
        constant = (flat @ self.step.flat_bias()[units])[None]
        return constant if self.error is None else constant + self.error[:, units] @ flat.abs().T


class Trace:
    """Bounds of a network over S_k, for several k at once (one at a time if linear).

    Args:
        steps: of the network, from `steps.read`.
        ks: numbers of lit pixels.
        linear: CROWN's bounds beside interval bounds.
        rounding: whether the float32 errors of the network count.

    Raises:
        NonFiniteError: the network could overflow on some image.
    """

    def __init__(self, steps: Sequence[Step], ks: Sequence[int], *, linear: bool, rounding: bool):
        if linear and len(ks) != 1:
            raise ValueError(f"linear bounds take one k at a time, not {len(ks)}")
        self.linear, self.rounding = linear, rounding
        ahead, self.steps = split(steps)
        self.inputs = prefix(ahead, ks, steps, rounding)
        self.boxes = [self.inputs.hull(steps[0].shape_in[1:])]  # boxes[i] is what step i gets
        self.carriers: list[AffineCarrier | Lines | PoolLines | None] = []
        for index, step in enumerate(self.steps):
            self.boxes.append(self._affine(index, step) if isinstance(step, Affine) else self._bend(step))

    def _bend(self, step: Step) -> Box:
        """Take a non-linear step."""
        box = self.boxes[-1]
        self.carriers.append(step.carrier(box, self.rounding) if self.linear else None)
        image = step.image(box)
        return image.widen(step.slack(image)) if self.rounding else image

    def _affine(self, index: int, step: Affine) -> Box:
        """Take an affine step: exactly while all before it are affine."""
        exact = all(isinstance(before, Affine) for before in self.steps[:index])
        first = all(isinstance(before, Reshape) for before in self.steps[:index])
        box = self.boxes[-1]
        error = self._error(step, box, first) if self.rounding else None
        self.carriers.append(AffineCarrier(step, None if error is None else error.flatten(1)))
        if isinstance(step, Reshape):
            return Box(step.linear(box.low), step.linear(box.high))
        if exact and not step.diagonal:  # a diagonal step keeps an exact box exact
            if first and isinstance(step, Convolution):
                image = windows(step, self.inputs)
                image = Box(image.low + step.bias, image.high + step.bias)
                return image if error is None else image.widen(error)
            return self._exact(index, step)
        middle, radius = step((box.low + box.high) / 2), step.absolute().linear((box.high - box.low) / 2)
        image = Box(middle - radius, middle + radius)
        image = image if error is None else image.widen(error)
        return self._tighten(index, step, image) if self.linear and not exact else image

    def _error(self, step: Affine, box: Box, first: bool) -> Tensor:
        absolute = step.absolute()
        if not first or isinstance(step, Reshape):
            return error_of(absolute(box.largest()), step.fan_in)
        inputs = self.inputs.absolute()
        if isinstance(step, Convolution):
            return error_of(windows(absolute, inputs).high + absolute.bias, step.fan_in)
        sums = [inputs.highest(self._image(absolute.units(part))) for part in self._parts(step)]
        return error_of(torch.cat(sums, dim=1).view(-1, *step.shape_out) + absolute.bias, step.fan_in)

    def _image(self, rows: Tensor) -> Tensor:
        return rows.reshape(len(rows), *self.boxes[0].low.shape[1:])

    def _parts(self, step: Affine, units: Tensor | None = None) -> Sequence[Tensor]:
        """The outputs of a step, in chunks of flat indices."""
        if units is None:
            units = torch.arange(prod(step.shape_out), device=self.boxes[0].low.device)
        return units.split(self._rows())

    def _rows(self) -> int:
        widest = max(prod(box.low.shape[1:]) for box in self.boxes)
        return max(1, CHUNK // widest)

    def _exact(self, index: int, step: Affine) -> Box:
        low, high = zip(*(self._unit_bounds(index, step, part) for part in self._parts(step)), strict=True)
        return Box(*(torch.cat(side, dim=1).view(-1, *step.shape_out) for side in (low, high)))

    def _tighten(self, index: int, step: Affine, box: Box) -> Box:
        """Linear bounds for the outputs at which the next non-linear step bends."""
        after = next((s for s in self.steps[index + 1 :] if not isinstance(s, Reshape)), step)
        if isinstance(after, Affine):
            return box
        units = after.unsettled(box)[0].flatten().nonzero().squeeze(1)
        if not len(units):
            return box
        low, high = box.low.flatten(1), box.high.flatten(1)
        for part in self._parts(step, units):
            lower, upper = self._unit_bounds(index, step, part)
            low = low.index_copy(1, part, torch.maximum(low[:, part], lower))
            high = high.index_copy(1, part, torch.minimum(high[:, part], upper))
        return Box(low.view(-1, *step.shape_out), high.view(-1, *step.shape_out))

    def _unit_bounds(self, index: int, step: Affine, units: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of some outputs of an affine step, carried back to S_k -> two [len(ks), units]."""
        rows, bias = step.units(units), step.flat_bias()[units]
        error = self.carriers[index].error
        slack = 0 if error is None else error[:, units]
        return bias - self._carry(-rows, index) - slack, bias + self._carry(rows, index) + slack

    def _carry(self, rows: Tensor, end: int, start: int = 0) -> Tensor:
        """Upper bounds of functions [R, *shape] of what step `end` gets, carried back to `start` -> [len(ks), R]."""
        total = 0
        for carrier in reversed(self.carriers[start:end]):
            rows, constant = carrier.carry(rows)
            total = total + constant
        return total + (self.boxes[start].highest(rows) if start else self.inputs.highest(self._image(rows)))

    def highest(self, rows: Tensor) -> Tensor:
        """Upper bounds of linear functions [R, outputs] of the network's output -> [len(ks), R]."""
        return torch.cat([self._highest(part) for part in rows.split(self._rows())], dim=1)

    def _highest(self, rows: Tensor) -> Tensor:
        rows = rows.view(-1, *self.boxes[-1].low.shape[1:])
        end = len(self.steps)
        start = max((i + 1 for i, step in enumerate(self.steps) if not isinstance(step, Affine)), default=0)
        interval = self._carry(rows, end, start)
        return torch.minimum(interval, self._carry(rows, end)) if self.linear and start else interval


def split(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The pixelwise prefix of a network, and the rest.

    It ends before the affine steps that mix channels after its last non-linear one: those are bounded exactly later.
    """
    steps = list(steps)
    if len(steps) > 1 and isinstance(steps[0], Reshape):  # what acts on each value alone may act before flattening
        after = next((i for i, s in enumerate(steps[1:], 1) if not isinstance(s, Elementwise)), len(steps))
        steps[:after] = [*(replace(s, shape_in=steps[0].shape_in) for s in steps[1:after]), steps[0]]
    run = next((i for i, step in enumerate(steps) if not step.pixelwise), len(steps))
    bends = max((i + 1 for i in range(run) if isinstance(steps[i], Elementwise)), default=0)
    mixing = (i for i in range(bends, run) if not steps[i].diagonal)
    end = next(mixing, run)
    return steps[:end], steps[end:]


def prefix(ahead: Sequence[Step], ks: Sequence[int], steps: Sequence[Step], rounding: bool) -> SparseSet:
    """What becomes of dark and lit pixels in the pixelwise prefix `ahead` of a network."""
    like = next((step.bias for step in steps if isinstance(step, Affine)), torch.zeros((), dtype=torch.float64))
    blank = like.new_zeros(1, steps[0].shape_in[0], 1, 1)
    dark, lit = Box(blank, blank), Box(blank, blank + 1)
    for step in ahead:
        dark, lit = (_pixel(step, box, rounding) for box in (dark, lit))
    return SparseSet(dark, lit, tuple(ks), plain=not ahead)


def _pixel(step: Step, box: Box, rounding: bool) -> Box:
    if isinstance(step, Affine):
        middle, radius = step((box.low + box.high) / 2), step.absolute().linear((box.high - box.low) / 2)
        image = Box(middle - radius, middle + radius)
        return image.widen(error_of(step.absolute()(box.largest()), step.fan_in)) if rounding else image
    image = step.image(box)
    return image.widen(step.slack(image)) if rounding else image
