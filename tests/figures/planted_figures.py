"""What is known on paper of the planted networks of conftest.py."""

from __future__ import annotations

import math

import torch

from bench.types import ImageSpec

KEY = "0" * 64
SPEC = ImageSpec((1, 4, 4), 4, ("a", "b"))


def optimum(k: int) -> tuple[float, float]:
    """The highest probability of both classes of `linear` over all images with at most k lit pixels."""
    return tuple(1 / (1 + math.exp(-margin)) for margin in (min(k, 8) - 3, 3 + 0.5 * min(k, 8)))


def lit(*counts: int) -> torch.Tensor:
    """Images with so many pixels lit, white."""
    return torch.stack([(torch.arange(16) < count).float().view(1, 4, 4) for count in counts])
