"""Sparse images as triples: row, column and value of each lit pixel, all numbers in [0, 1], so that they can evolve."""

from __future__ import annotations

import torch
from torch import Tensor


def positions(pixels: Tensor, height: int, width: int) -> Tensor:
    """Indices of pixels [...] -> the rows and columns of their centres [..., 2] in [0, 1]."""
    row, column = pixels.div(width, rounding_mode="floor"), pixels % width
    return torch.stack([(row + 0.5) / height, (column + 0.5) / width], dim=-1)


def pixels_of(genes: Tensor, height: int, width: int) -> Tensor:
    """Triples [..., 2 + C] -> the index of each one's pixel [...]."""
    row, column = (genes[..., 0] * height).long(), (genes[..., 1] * width).long()
    return row.clamp(0, height - 1) * width + column.clamp(0, width - 1)


def colours(chance: Tensor) -> Tensor:
    """Numbers [..., C] in [0, 1) -> random corner colours; white for grey, since black is no pixel at all."""
    return torch.ones_like(chance) if chance.shape[-1] == 1 else (chance < 0.5).to(chance)


def show(genes: Tensor, free: Tensor) -> Tensor:
    """Triples [n, P, k, 2 + C] as images [n, P, C, H, W]; where two share a pixel, the larger value shows."""
    n, channels, height, width = free.shape
    pixels = pixels_of(genes, height, width)[:, :, None].expand(-1, -1, channels, -1)
    blank = torch.zeros(n, genes.shape[1], channels, height * width, device=free.device)
    images = blank.scatter_reduce_(3, pixels, genes[..., 2:].transpose(2, 3), "amax")
    return images.view(n, -1, channels, height, width) * free[:, None]


def within(mutants: Tensor, parents: Tensor) -> Tensor:
    """A row or column that leaves [0, 1) ends halfway between its parent and the edge; values are clipped."""
    edge = (mutants >= 1).to(mutants)
    inside = torch.where((mutants < 0) | (mutants >= 1), (parents + edge) / 2, mutants)
    return torch.cat([inside[..., :2], mutants[..., 2:].clamp(0, 1)], dim=-1)


def settle(triples: Tensor, replaced: Tensor, anywhere: Tensor, images: Tensor, free: Tensor, chance: Tensor) -> None:
    """Move triples to a vacant pixel, in place, where they lie on a held or a lit one, and where they may go anywhere.

    Args:
        triples: [n, P, 2 + C], each to be shown with its row's image.
        replaced: [n, P, 2 + C] the triple of that image that each takes the place of; negative for none. Its pixel
            is vacant for its heir, if the heir has another value.
        anywhere: [n, P] bool, which move in any case.
        images: [n, 1, C, H, W].
        free: [n, C, H, W], 0 where a pixel is held.
        chance: [n, P] in [0, 1), decides which vacant pixel; where there is none it is the last.
    """
    height, width = images.shape[3:]
    taken = ((images[:, 0] > 0).any(dim=1) | (free == 0).all(dim=1)).flatten(1)
    pixels = pixels_of(triples, height, width)
    heir = (replaced[..., 0] >= 0) & (pixels == pixels_of(replaced, height, width))
    heir &= (triples[..., 2:] != replaced[..., 2:]).any(dim=2)
    vacant = (~taken).cumsum(dim=1)
    rank = (chance * vacant[:, -1:]).floor() + 1
    drawn = torch.searchsorted(vacant, rank.long()).clamp(max=height * width - 1)
    moves = anywhere | (taken.gather(1, pixels) & ~heir)
    triples[..., :2] = torch.where(moves[..., None], positions(drawn, height, width), triples[..., :2])
