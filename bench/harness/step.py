"""One piece of a gallery: what is asked of an attack at a place, what came of it, and the file it lies in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.harness.generate import balanced_targets, better
from bench.harness.provenance import digest
from bench.types import Outcome
from bench.verify import Verified


@dataclass(frozen=True)
class Made:
    """What one attack made at one place.

    Args:
        targets: [n] which of the place's targets it was asked for.
        verified: its images for them.
        passes: image passes it took.
        non_finite: images whose logits were not finite while it looked at them.
        beside: in the final network's cascade, all that goes into `verified`: the attack's images, those that it
            makes with as few pixels as it can, and what is left of confident ones that lost pixels.
    """

    targets: Tensor
    verified: Verified
    passes: int
    non_finite: int
    beside: tuple[Verified, ...] = ()

    def or_worse(self, targets: Tensor, found: Verified) -> Verified:
        """`verified`, with other images standing in for a target's where they count more against the network.

        Args:
            targets: [m] which of the place's targets `found` is for, none twice.
            found: m images, of which those that are fooling or borderline are looked at.
        """
        counts = found.is_(Outcome.FOOLING, Outcome.BORDERLINE) & torch.isin(targets, self.targets)
        return better(self.verified, found[counts], torch.searchsorted(self.targets, targets[counts]))


@dataclass(frozen=True)
class Step:
    """Images that are made once: by an attack or, where it `thins` images, from these.

    Args:
        folder: of the file.
        place: whose network.
        attack: its name.
        n: the number of the place's targets; k: lit pixels that count as sparse.
        which: [m] of those targets it is for.
        thins: the m images that lose pixels, if any.
    """

    folder: str
    place: str
    attack: str
    n: int
    k: int
    which: Tensor
    thins: Verified | None = None

    def targets(self, real_classes: int) -> Tensor:
        """The real class that each image is made for -> [m]."""
        return self.thins.targets if self.thins is not None else balanced_targets(real_classes, self.n)[self.which]

    @property
    def file(self) -> str:
        return stored_name(self.folder, self.attack, self.n, self.k)


def cascade_at(place: str) -> str:
    """The folder of a place's cascade."""
    return f"cascade-{place}"


def stored_name(folder: str, attack: str, n: int, k: int) -> str:
    """The file of an attack's images for `n` targets, with at most `k` lit pixels."""
    return f"generated/{folder}/{_file_name(attack)}-{n}x{k}.safetensors"


def _file_name(name: str) -> str:
    """A file name for any attack's name; one that had to change carries a hash, so that no two meet."""
    safe = re.sub(r"[^\w.]+", "_", name)
    return safe if safe == name else f"{safe}-{digest(name)[:8]}"
