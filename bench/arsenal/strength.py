"""`strength`: how few lit pixels every attack needs on undefended networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from bench.arsenal import sparsest
from bench.arsenal.ensemble import ATTACKS, PEERS, installed, unaided
from bench.arsenal.networks import fingerprint, trained
from bench.arsenal.record import Cell, Network, Strength, stored, write
from bench.arsenal.sources import sources
from bench.errors import BadInputError
from bench.harness.generate import balanced_targets
from bench.harness.provenance import digest, revision
from bench.materials.data import Data, load
from bench.seeds import derive
from bench.types import Attack, ImageSpec


@dataclass(frozen=True)
class Asked:
    """What `strength` was asked for.

    Args:
        networks: names of `bench.arsenal.networks.NETWORKS`.
        targets: how many, every class equally often.
        passes: per image.
        p: probability over all outputs that counts.
    """

    dataset: str
    networks: tuple[str, ...]
    targets: int
    passes: int
    p: float
    seed: int

    @property
    def settings(self) -> dict[str, str | int | float]:
        return {
            "dataset": self.dataset,
            "targets": self.targets,
            "passes": self.passes,
            "p": self.p,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Bench:
    """One network with all that its cells have in common."""

    asked: Asked
    name: str
    network: nn.Module
    spec: ImageSpec
    k: int
    targets: Tensor
    weights: str


def measure(asked: Asked, command: str, path: Path, *, data_root: Path, download: bool, cache: Path, fresh: bool):
    """Measure every attack on every network; each cell is stored as soon as it is there.

    A stored cell is measured again when the sources that decide it have changed, the attack's own or the network's
    weights, a library's version, or torch's.

    Raises:
        BadInputError: no such data set, or one that a network does not fit.
        RecordError: the file at `path` holds figures of other settings, or can't be read.
    """
    data = load(asked.dataset, root=data_root, seed=asked.seed, allow_download=download)
    ensemble = unaided()
    targets = balanced_targets(data.spec.real_classes, asked.targets)
    record = Strength(
        command=command,
        seed=asked.seed,
        settings=asked.settings,
        revision=revision(),
        dataset=asked.dataset,
        targets=tuple(targets.tolist()),
        ensemble=tuple(ensemble),
        peers=PEERS,
    )
    before = stored(path, record, fresh)
    record.networks.update(before.networks if before else {})
    for name in asked.networks:
        bench, accuracy = _bench(asked, name, data, targets, cache)
        kept = record.networks[name].cells if name in record.networks else {}
        record.networks[name] = Network(accuracy=accuracy, weights=bench.weights)
        _fill(bench, kept, ensemble, record, path)


def _fill(bench: Bench, kept: dict[str, Cell], ensemble: dict[str, Attack], record: Strength, path: Path) -> None:
    """All cells of a network, in order, those that still hold kept; the file is written after each."""
    names = [*ensemble, *PEERS]
    keys = {name: cell_key(bench, name, ensemble.get(name)) for name in names}
    cells = record.networks[bench.name].cells
    cells.update({n: kept[n] for n in names if n in kept and kept[n].key == keys[n] and kept[n].problem is None})
    with tqdm(names, disable=None) as bar:
        for name in bar:
            bar.set_description_str(f"{name} on {bench.name}")
            if name not in cells:
                cells[name] = cell(bench, name, ensemble.get(name), keys[name])
                write(path, record)
    write(path, record)


def _bench(asked: Asked, name: str, data: Data, targets: Tensor, cache: Path) -> tuple[Bench, float]:
    network, accuracy = trained(name, data, asked.seed, cache)
    weights = fingerprint(network.state_dict())
    return Bench(asked, name, network, data.spec, data.default_k, targets, weights), accuracy


def cell_key(bench: Bench, name: str, attack: Attack | None) -> str:
    """Hash of all that decides a cell's figures; `attack` is None for another library's."""
    module = "attacks.peers" if attack is None else attack.__module__
    library = installed(name) if attack is None else None
    made_of = [sources(sparsest.__name__, module), library, torch.__version__, bench.weights]
    return digest([bench.asked.settings, name, name in ATTACKS.minimisers, bench.k, *made_of])


def cell(bench: Bench, name: str, attack: Attack | None, key: str) -> Cell:
    """Measure one attack on one network; a peer that can't run is a cell that says why."""
    words = {"p": bench.asked.p, "passes": bench.asked.passes, "seed": derive(bench.asked.seed, bench.name, name)}
    where = (bench.network, bench.spec, bench.targets)
    if attack is None:
        return _peer(name, where, words, key)
    if name in ATTACKS.minimisers:
        way, found = "minimiser", sparsest.to_the_end(attack, *where, **words)
    else:
        way, found = "descent", sparsest.ever_fewer(attack, *where, **words, k=bench.k)
    return Cell(
        key=key,
        way=way,
        pixels=found.pixels,
        passes=found.passes / len(bench.targets),
        seconds=found.seconds,
        revision=revision(),
    )


def _peer(name: str, where: tuple, words: dict, key: str) -> Cell:
    facts = {"key": key, "way": "peer", "revision": revision()}
    if installed(name) is None:
        return Cell(**facts, problem="not installed")
    try:
        raw, thin = sparsest.as_given(ATTACKS.load(name), *where, **words)
    except BadInputError as error:
        return Cell(**facts, problem=str(error).splitlines()[0])
    targets = len(where[2])
    return Cell(
        **facts,
        pixels=raw.pixels,
        pruned=thin.pixels,
        passes=raw.passes / targets,
        pruning=thin.passes / targets,
        seconds=raw.seconds + thin.seconds,
    )
