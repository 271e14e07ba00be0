"""What becomes of real images that are dimmed, cut, moved or mixed: a table, in arithmetic that is exact everywhere.

They are what a person would try first on a network that says it knows real images: no attack, no slope. The kinds are
those of Hendrycks and Dietterich, https://arxiv.org/abs/1903.12261, as far as they leave an image sparse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Material:
    """Real images to alter.

    Args:
        images: [N, C, H, W] in [0, 1].
        others: [N, C, H, W], more of them, in another order.
        generator: a CPU generator; all chance comes from it.
    """

    images: Tensor
    others: Tensor
    generator: torch.Generator

    def chance(self, share: float) -> Tensor:
        """Which pixels chance picks -> [N, 1, H, W] bool."""
        n, _, height, width = self.images.shape
        return torch.rand(n, 1, height, width, generator=self.generator) < share

    @property
    def peak(self) -> Tensor:
        """The brightest value of each image -> [N, 1, 1, 1], above 0."""
        return self.images.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)

    def where(self, rows: Callable[[Tensor], Tensor]) -> Tensor:
        """[H, W] bool of what holds of the middles of pixels (row, column), each between 0 and 1."""
        height, width = self.images.shape[2:]
        places = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in (height, width)), indexing="ij")
        return rows(torch.stack(places))


def dimmed(factor: float) -> Callable[[Material], Tensor]:
    return lambda real: real.images * factor


def at_one_value(factor: float) -> Callable[[Material], Tensor]:
    """What has at least half of the image's own peak is all alike, the rest black."""
    return lambda real: (real.images >= real.peak / 2) * real.peak * factor


def kept(where: Callable[[Tensor], Tensor]) -> Callable[[Material], Tensor]:
    """A part of the image; the rest is black."""
    return lambda real: real.images * real.where(where)


def every_other(dim: int) -> Callable[[Material], Tensor]:
    def build(real: Material) -> Tensor:
        images = real.images.clone()
        images.movedim(dim, 0)[1::2] = 0
        return images

    return build


def moved(share: float, dim: int) -> Callable[[Material], Tensor]:
    """By a share of the side; what leaves comes in on the other side."""
    return lambda real: real.images.roll(max(1, round(share * real.images.shape[dim])), dim)


def half_size(real: Material) -> Tensor:
    """In the middle, every pixel the brightest of four."""
    small = F.max_pool2d(real.images, 2, ceil_mode=True)
    out = torch.zeros_like(real.images)
    top, left = ((whole - part) // 2 for whole, part in zip(out.shape[2:], small.shape[2:], strict=True))
    out[:, :, top : top + small.shape[2], left : left + small.shape[3]] = small
    return out


def joined(real: Material) -> Tensor:
    """One's left half, another's right half."""
    return torch.where(real.where(lambda at: at[1] < 0.5), real.images, real.others)


def specks(real: Material) -> Tensor:
    """Two of a hundred pixels as bright as the image itself."""
    return torch.where(real.chance(0.02), real.peak, real.images)


def eroded(real: Material) -> Tensor:
    return -F.max_pool2d(-real.images, 3, stride=1, padding=1)


LESS: dict[str, Callable[[Material], Tensor]] = {
    "as they are": lambda real: real.images,
    "dimmed to a half": dimmed(0.5),
    "dimmed to a quarter": dimmed(0.25),
    "of one faint value": at_one_value(0.5),
    "faint parts gone": lambda real: real.images * (real.images >= real.peak / 2),
    "contrast raised": lambda real: real.images * real.images,
    "top half": kept(lambda at: at[0] < 0.5),
    "left half": kept(lambda at: at[1] < 0.5),
    "middle": kept(lambda at: ((at - 0.5).abs() < 0.25).all(dim=0)),
    "every other row": every_other(2),
    "every other column": every_other(3),
    "a third gone": lambda real: real.images * ~real.chance(1 / 3),
    "eroded": eroded,
    "outline": lambda real: real.images - eroded(real),
    "what two have in common": lambda real: torch.minimum(real.images, real.others),
}
"""Name -> what takes light away and adds none."""

OTHERWISE: dict[str, Callable[[Material], Tensor]] = {
    "brightest": lambda real: real.images / real.peak,
    "of one value": at_one_value(1.0),
    "moved down": moved(0.125, 2),
    "moved right": moved(0.125, 3),
    "moved far": moved(0.25, 3),
    "mirrored": lambda real: real.images.flip(3),
    "upside down": lambda real: real.images.flip(2),
    "half size": half_size,
    "specks": specks,
    "joined": joined,
    "both": lambda real: torch.maximum(real.images, real.others),
    "mixed": lambda real: (real.images + real.others) / 2,
}
"""Name -> what adds light, or moves it."""
