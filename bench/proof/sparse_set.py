"""S_k after a network's pixelwise prefix, and the exact maximum of linear functions over it.

A prefix of layers that act on each pixel alone keeps an image sparse: each pixel is then either what becomes of a
dark one, or, for at most k of them, anything in what becomes of the box [0, 1]^C. A linear function is largest where
the k pixels that gain most are lit. For the images themselves dark is 0 and lit is [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.proof.affine import Convolution
from bench.proof.monotone import Box


@dataclass(frozen=True)
class SparseSet:
    """All images [C, H, W] whose pixels lie in the box `dark`, at most k of them in the box `lit` instead.

    Args:
        dark, lit: [1, C, 1, 1]; dark lies inside lit.
        ks: the k of each row of a result.
        plain: dark is 0 and lit is [0, 1], as they are in the images themselves; only a quicker way.
    """

    dark: Box
    lit: Box
    ks: tuple[int, ...]
    plain: bool = False

    def absolute(self) -> SparseSet:
        """A set that holds the absolute value of every image of this one."""
        zero = torch.zeros_like(self.dark.low)
        return SparseSet(Box(zero, self.dark.largest()), Box(zero, self.lit.largest()), self.ks, self.plain)

    def hull(self, pixels: tuple[int, int]) -> Box:
        """The smallest box around the set, for each k -> [len(ks), C, H, W]."""
        some = torch.tensor(self.ks, device=self.lit.low.device).view(-1, 1, 1, 1) > 0
        low = torch.where(some, self.lit.low, self.dark.low)
        high = torch.where(some, self.lit.high, self.dark.high)
        return Box(low.expand(-1, -1, *pixels), high.expand(-1, -1, *pixels))

    def highest(self, rows: Tensor) -> Tensor:
        """Largest value over the set of linear functions [R, C, H, W] -> [len(ks), R]."""
        rows = rows.flatten(2)
        if self.plain:
            return self.most(rows.clamp(min=0).sum(dim=1))
        return self.rest(rows).sum(dim=1) + self.most(self.gain(rows))

    def rest(self, rows: Tensor) -> Tensor:
        """The most that dark pixels give: [R, C, P] -> [R, P]."""
        return at_most(rows, self.dark.low, self.dark.high)

    def gain(self, rows: Tensor) -> Tensor:
        """What lighting a pixel adds to that, never less than 0: [R, C, P] -> [R, P]."""
        return at_most(rows, self.lit.low - self.dark.low, self.lit.high - self.dark.high)

    def most(self, gains: Tensor) -> Tensor:
        """The sum of the k largest of [R, P] -> [len(ks), R]."""
        ks = [min(k, gains.shape[1]) for k in self.ks]
        if len(ks) == 1:
            return gains.topk(ks[0], dim=1).values.sum(dim=1)[None]
        sums = F.pad(gains.topk(max(ks), dim=1).values.cumsum(dim=1), (1, 0))
        return sums[:, ks].T


def at_most(rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """sum over c of max(rows_c * low_c, rows_c * high_c) for low <= high: [R, C, P] -> [R, P].

    `low` and `high` may also be differences of bounds, each the factor of its own sign of rows.
    """
    low, high = low.view(1, -1, 1), high.view(1, -1, 1)
    return (rows.clamp(min=0) * high + rows.clamp(max=0) * low).sum(dim=1)


def windows(step: Convolution, inputs: SparseSet) -> Box:
    """Exact bounds of a convolution over the set, without its bias -> [len(ks), *shape_out].

    The windows of one filter differ only in how they are cut off at the border, so each filter is summed once for
    each way of cutting.
    """
    ones = torch.ones(1, 1, *step.shape_in[1:], dtype=torch.float64, device=step.weight.device)
    cut = F.unfold(ones, step.weight.shape[2:], step.dilation, step.padding, step.stride)[0].T > 0
    ways, place = torch.unique(cut, dim=0, return_inverse=True)
    taps = step.weight.flatten(2)  # [O, C / groups, taps]
    high = _sums(taps, ways, inputs, step.groups)
    low = -_sums(-taps, ways, inputs, step.groups)
    return Box(*(side[:, :, place].view(-1, *step.shape_out) for side in (low, high)))


def _sums(taps: Tensor, ways: Tensor, inputs: SparseSet, groups: int) -> Tensor:
    """The largest value of each filter cut in each way -> [len(ks), O, ways]."""

    def each(function: Callable[[Tensor], Tensor]) -> Tensor:
        values = function(taps)
        return torch.where(ways[None], values[:, None], 0.0).flatten(0, 1)  # [O * ways, taps]

    filters, channels, _ = taps.shape
    if groups > 1:  # every filter's channels, among zeros for those of other groups
        group = torch.arange(filters, device=taps.device) * groups // filters
        wide = taps.new_zeros(filters, groups, channels, taps.shape[2])
        taps = wide.index_put((torch.arange(filters, device=taps.device), group), taps).flatten(1, 2)
    highest = each(inputs.rest).sum(dim=1) + inputs.most(each(inputs.gain))
    return highest.view(-1, filters, len(ways))
