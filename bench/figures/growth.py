"""`growth`: how the time of a bound grows with k and with the network, in passes, whatever the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bench.arsenal.record import stored, write
from bench.figures.record import Growth, GrowthRow
from bench.figures.rows import fill, made_of
from bench.harness.provenance import revision
from bench.materials.networks import build, cnn, wide
from bench.proof.bounds import bounds
from bench.seeds import derive, generator
from bench.types import ImageSpec, NetworkFactory

SPEC = ImageSpec((1, 28, 28), 255, tuple(map(str, range(10))))
IMAGES = 1000
KS = (1, 2, 5, 10, 20, 50, 100, 200, 400)
WIDTHS = (64, 128, 256, 512, 1024)
USUAL_WIDTH, USUAL_K = 256, 33


@dataclass(frozen=True)
class Case:
    """One row: the network that is bounded, and k."""

    series: str
    network: str
    factory: NetworkFactory
    k: int


def layers(width: int) -> NetworkFactory:
    """Two hidden layers of this width: images [N, C, H, W] in [0, 1] -> logits [N, outputs]."""

    def build_mlp(spec: ImageSpec, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(spec.shape[0] * spec.pixels, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, outputs),
        )

    return build_mlp


def planned() -> dict[str, Case]:
    """Every row, by name."""
    usual = f"two hidden layers of {USUAL_WIDTH}"
    cases = [Case("k", usual, layers(USUAL_WIDTH), k) for k in KS]
    cases += [Case("width", f"two hidden layers of {width}", layers(width), USUAL_K) for width in WIDTHS]
    cases += [Case("convolutions", name, made, k) for name, made in (("cnn", cnn), ("wide", wide)) for k in (1, 400)]
    return {f"{case.series}: {case.network}, k = {case.k}": case for case in cases}


def measure(repeats: int, seed: int, command: str, path: Path, *, fresh: bool) -> None:
    """Time every bound; each row is stored as soon as it is there.

    Raises:
        RecordError: the file at `path` holds figures of other settings, or can't be read.
    """
    cases = planned()
    record = Growth(
        command=command,
        seed=seed,
        settings={"repeats": repeats, "seed": seed},
        revision=revision(),
        images=IMAGES,
        shape=SPEC.shape,
        planned=tuple(cases),
    )
    before = stored(path, record, fresh)

    def key_of(name: str) -> str:
        modules = ("bench.materials.networks", "bench.proof.bounds")
        return made_of(record.settings, name, modules=modules, alone=("bench.figures.growth",))

    def make(name: str, key: str) -> GrowthRow:
        return row(cases[name], key, repeats, seed)

    kept = before.rows if before else {}
    fill(record.rows, cases, kept, key_of, make, lambda: write(path, record), "time of bounds")


def row(case: Case, key: str, repeats: int, seed: int) -> GrowthRow:
    """Both bounds and a pass, timed in turns on an untrained network."""
    network = build(case.factory, SPEC, SPEC.real_classes, derive(seed, "growth", case.network)).eval()
    images = torch.rand(IMAGES, *SPEC.shape, generator=generator(seed, "growth"))
    interval, linear, forward = fastest(
        (
            lambda: bounds(network, SPEC, [case.k], "interval"),
            lambda: bounds(network, SPEC, [case.k], "linear"),
            lambda: network(images),
        ),
        repeats,
    )
    facts = {"series": case.series, "network": case.network, "k": case.k}
    return GrowthRow(key=key, revision=revision(), **facts, interval=interval, linear=linear, forward=forward)


@torch.no_grad()
def fastest(works: tuple[Callable[[], object], ...], repeats: int) -> list[float]:
    """The least seconds of each work; they take turns, so that a busy moment hits all of them."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return [min(taken) for taken in seconds]
