"""Every random draw comes from a generator that is derived, by name, from the run's one seed."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *names: object) -> int:
    """A seed that depends on the run's seed and on what it is for; 32 bits, the range NumPy takes."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator for one purpose: draws of one never shift those of another."""
    return torch.Generator().manual_seed(derive(seed, *names))
