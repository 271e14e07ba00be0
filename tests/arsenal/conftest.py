"""Small stored files whose every figure is known."""

from __future__ import annotations

import pytest

from bench.arsenal.record import Cell, Network, Strength

KEY = "0" * 64
TARGETS = (0, 1, 0, 1)


def cell(pixels=(), pruned=(), way="minimiser", **more) -> Cell:
    return Cell(key=KEY, way=way, pixels=pixels, pruned=pruned, revision="abc", **more)


@pytest.fixture
def strength() -> Strength:
    """Two classes, two targets each; one peer of two is measured."""
    cells = {
        "sigma_zero": cell((4, 6, 5, 8), passes=200, seconds=1.5),
        "other": cell((3, 6, None, 9), way="descent", passes=150, seconds=2),
        "foolbox:A": cell((5, 7, 5, 7), (3, 7, 5, 5), way="peer", passes=100, pruning=9, seconds=3),
        "art:B": cell(way="peer", problem="not installed"),
    }
    return Strength(
        command="python -m bench.arsenal strength --dataset planted",
        seed=3,
        settings={"dataset": "planted", "targets": 4, "passes": 200, "p": 0.9, "seed": 3},
        revision="abc",
        dataset="planted",
        targets=TARGETS,
        ensemble=("other", "sigma_zero"),
        peers=("foolbox:A", "art:B"),
        networks={"mlp": Network(accuracy=0.9712, weights="f" * 64, cells=cells)},
    )
