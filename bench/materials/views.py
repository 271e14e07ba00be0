"""What a judge looks at: an image as a row of numbers. Nothing here is fitted, and no network is involved.

Every view takes images [N, C, H, W] in [0, 1], of any size and number of channels, to float32 rows [N, D].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FAINT = 1e-3  # far below one step of any value grid: what an image without light has instead of a direction


def pixels(images: Tensor) -> Tensor:
    """All values as they are."""
    return images.flatten(1)


def direction(images: Tensor) -> Tensor:
    """All values at length 1, so that a dim copy looks like its original; blank stands at right angles to all."""
    return F.normalize(F.pad(images.flatten(1), (0, 1), value=FAINT))


def root_direction(images: Tensor) -> Tensor:
    """Square roots at length 1: faint pixels count. Its distances are Hellinger's, between two shares of ink."""
    return direction(images.clamp_min(0).sqrt())


def brightness(images: Tensor) -> Tensor:
    """Mean of all values, on a log scale -> [N, 1]."""
    return (images.flatten(1).mean(dim=1, keepdim=True) + FAINT).log()


def texture(images: Tensor) -> Tensor:
    """Six figures of local structure, wherever in the image -> [N, 6].

    Strokes and surfaces are smooth at the scale of a pixel, with soft edges; noise is not, nor what attacks draw.
    """
    mass = images.flatten(1).sum(dim=1).clamp_min(FAINT)
    length = images.flatten(1).norm(dim=1).clamp_min(FAINT)
    framed = F.pad(images, (1, 1, 1, 1))
    steps = _sum(framed.diff(dim=2).abs()) + _sum(framed.diff(dim=3).abs())
    around = F.avg_pool2d(images, (3, 1), 1, (1, 0)) * 3 + F.avg_pool2d(images, (1, 3), 1, (0, 1)) * 3
    lit = (images > 0).float()
    lonely = F.avg_pool2d(lit, 3, 1, 1) * 9 - lit < 1.5  # at most one lit neighbour of eight
    figures = (
        brightness(images).squeeze(1),
        steps / mass,  # total variation
        _sum((6 * images - around).abs()) / mass,  # the Laplacian, 4 x minus its four neighbours
        F.avg_pool2d(images, 3, 1, 1).flatten(1).norm(dim=1) / length,  # what a blur leaves
        length / mass.sqrt(),  # few strong values or many faint ones
        _sum(images * lonely) / mass,
    )
    return torch.stack(figures, dim=1)


def _sum(images: Tensor) -> Tensor:
    return images.flatten(1).sum(dim=1)
