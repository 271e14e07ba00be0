"""`tightness`: proved bounds beside the best attack, at each k."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from attacks.greedy_saliency import greedy_saliency
from attacks.sparse_pgd import sparse_pgd_projected, sparse_pgd_unprojected
from bench.arsenal.record import stored, write
from bench.errors import BadInputError
from bench.figures.curve import checked, seen, share
from bench.figures.networks import DEFENSE, MODULES, Certain, trained, trained_gate, weights_of
from bench.figures.record import Tightness, TightNetwork, TightRow
from bench.figures.rival import trained_rival
from bench.figures.rows import fill, made_of
from bench.harness.generate import balanced_targets
from bench.harness.proof import ProofViolatedError
from bench.harness.provenance import revision
from bench.harness.registry import NETWORKS
from bench.materials.data import Data, load
from bench.materials.gate import Gated
from bench.materials.networks import build
from bench.materials.weights import load_weights, outputs_of
from bench.meter import Meter
from bench.proof.bounds import bounds, proved_to
from bench.seeds import generator
from bench.types import Attack, Budget, ImageSpec, ThreatModel, lit_pixels
from bench.verify import logits_of, target_probability
from defenses.gate import most_to_prove

P = 0.9
ATTACKS: dict[str, Attack] = {
    "sparse_pgd_unprojected": sparse_pgd_unprojected,
    "sparse_pgd_projected": sparse_pgd_projected,
    "greedy_saliency": greedy_saliency,
}
STEPS = (0, 1, 2, 5, 10, 20, 33, 50, 100, 200)  # those up to the data set's own k
UNDEFENDED = ("mlp", "cnn")


@dataclass(frozen=True)
class Asked:
    """What `tightness` was asked for.

    Args:
        ks: lit pixels; empty: the usual ones, and the gate's.
        targets: of each class, for an attack.
        passes: per image, for each attack.
        weights: of one more network, by its label: where they lie, and the name of their architecture.
    """

    dataset: str
    ks: tuple[int, ...]
    targets: int
    passes: int
    seed: int
    weights: tuple[str, Path, str] | None = None

    @property
    def settings(self) -> dict[str, str | int | float]:
        return {
            "dataset": self.dataset,
            "targets": self.targets,
            "passes": self.passes,
            "p": P,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Subject:
    """A network to bound and attack, and the facts of its images; a gate alone has one real class."""

    network: nn.Module
    spec: ImageSpec
    accuracy: float | None


def measure(
    asked: Asked,
    commands: tuple[str, str],
    path: Path,
    *,
    data_root: Path,
    download: bool,
    cache: Path,
    fresh: bool,
) -> None:
    """Measure every network at every k; each row is stored as soon as it is there.

    Args:
        commands: that make the figures of the usual networks, and those of the network with given weights.

    Raises:
        BadInputError: no such data set or network, weights of another one, or more lit pixels than an image has.
        RecordError: the file at `path` holds figures of other settings, or can't be read.
        UnsupportedLayerError: a network whose layers can't be bounded.
        ProofViolatedError: an attack found what is proved not to exist.
    """
    data = load(asked.dataset, root=data_root, seed=asked.seed, allow_download=download)
    most = most_to_prove(data.a_train.images)
    usual = {k for k in (*STEPS, most, data.default_k) if k <= data.default_k}
    ks = checked(asked.ks or tuple(usual), data.spec)
    record = Tightness(
        command=commands[0],
        seed=asked.seed,
        settings=asked.settings,
        revision=revision(),
        dataset=asked.dataset,
        p=P,
        attacks=tuple(ATTACKS),
        planned=ks,
    )
    makers = subjects(asked, data, most, cache)
    before = stored(path, record, fresh)
    record.networks.update(before.networks if before else {})
    for name, make in makers.items():
        command = commands[1] if asked.weights and name == asked.weights[0] else commands[0]
        _fill(name, make(), command, asked, record, path)


def subjects(asked: Asked, data: Data, most: int, cache: Path) -> dict[str, Callable[[], Subject]]:
    """What is measured, by name, made when it is its turn; given weights, which may be refused, come first.

    Args:
        most: lit pixels up to which the gate is trained to shut.

    Raises:
        BadInputError: a label that is a usual network's name.
    """

    def classifier(name: str) -> Callable[[], Subject]:
        return lambda: _classifier(trained(name, data, asked.seed, cache), data)

    usual = {name: classifier(name) for name in UNDEFENDED}
    for name, train in (("the gate of sparse_gate", trained_gate), ("a plain gate", trained_rival)):
        usual[f"{name}, to {most}"] = lambda train=train: alone(train(data, most, asked.seed), data.spec)
    if asked.weights is None:
        return usual
    label, file, network = asked.weights
    if label in usual:
        raise BadInputError(f"--label {label}: a network that is measured anyway; expected another name")
    return {label: lambda: _classifier(given(file, network, data.spec), data)} | usual


def given(path: Path, name: str, spec: ImageSpec) -> nn.Module:
    """A network with given weights.

    Raises:
        BadInputError: no such network, or weights of another one.
    """
    factory = NETWORKS.load(name)
    network = build(factory, spec, outputs_of(path, factory, spec), seed=0)
    load_weights(path, network)
    return network.eval()


def alone(gate: nn.Module, spec: ImageSpec) -> Subject:
    """A gate as a network with one real class, whose probability is what the gate lets through."""
    return Subject(Gated(Certain(1), gate), replace(spec, class_names=("let through",)), None)


def _classifier(network: nn.Module, data: Data) -> Subject:
    return Subject(network, data.spec, share(seen(network, data.test)[1]))


def _fill(name: str, subject: Subject, command: str, asked: Asked, record: Tightness, path: Path) -> None:
    """All rows of a network, those that still hold kept."""
    kept = record.networks[name].rows if name in record.networks else {}
    weights = weights_of(subject.network)
    p = (P,) * subject.spec.real_classes
    record.networks[name] = TightNetwork(
        command=command,
        accuracy=subject.accuracy,
        weights=weights,
        proved_interval=proved_to(subject.network, subject.spec, p, "interval"),
        proved=proved_to(subject.network, subject.spec, p),
    )

    def key_of(k: str) -> str:
        modules = (*MODULES, *(attack.__module__ for attack in ATTACKS.values()))
        return made_of(
            asked.settings,
            name,
            k,
            weights,
            modules=modules,
            alone=(*DEFENSE, "bench.figures.rival", "bench.figures.tightness"),
        )

    def make(k: str, key: str) -> TightRow:
        return row(int(k), key, subject, asked)

    ks = map(str, record.planned)
    fill(record.networks[name].rows, ks, kept, key_of, make, lambda: write(path, record), f"bounds of {name}")


def row(k: int, key: str, subject: Subject, asked: Asked) -> TightRow:
    """Bounds and attacks at one k.

    Raises:
        ProofViolatedError: an attack found what is proved not to exist.
    """
    interval, seconds_interval = timed(subject, k, "interval")
    linear, seconds_linear = timed(subject, k, "linear")
    found, by = best_found(subject, k, asked)
    if (over := found.double() > linear).any():
        label = int(over.nonzero()[0])
        raise ProofViolatedError(
            f"internal error: {by[label]} found probability {float(found[label]):.6f} of class {label} with at most "
            f"{k} lit pixels, and {float(linear[label]):.6f} is proved: please report it"
        )
    return TightRow(
        key=key,
        revision=revision(),
        k=k,
        interval=tuple(interval.tolist()),
        linear=tuple(linear.tolist()),
        found=tuple(found.tolist()),
        by=by,
        seconds_interval=seconds_interval,
        seconds_linear=seconds_linear,
    )


def timed(subject: Subject, k: int, method: Literal["interval", "linear"]) -> tuple[Tensor, float]:
    """Every class's bound [K] float64, and the seconds it took."""
    began = time.perf_counter()
    found = bounds(subject.network, subject.spec, [k], method).probability[0]
    return found, time.perf_counter() - began


def best_found(subject: Subject, k: int, asked: Asked) -> tuple[Tensor, tuple[str, ...]]:
    """Each class's highest probability [K] over images with at most k lit pixels, and the attack that found it.

    Attacks are asked for certainty, so that none stops before its passes are spent, and verified as the harness does:
    rounded, in float32, in eval mode, lit pixels counted.
    """
    classes = subject.spec.real_classes
    targets = balanced_targets(classes, classes * asked.targets)
    blank = torch.zeros(1, *subject.spec.shape)
    found, by = logits_of(subject.network, blank).softmax(dim=1)[0, :classes], ["blank"] * classes
    for name, attack in ATTACKS.items() if k else ():  # with none to light there is the blank one alone
        meter = Meter(subject.network, subject.spec, allowance=asked.passes * len(targets))
        draws = generator(asked.seed, "tightness", name, k)
        images = attack(meter, targets, threat=ThreatModel(1.0, k), budget=Budget(asked.passes), generator=draws)
        images = subject.spec.round(images.detach())
        probability = target_probability(logits_of(subject.network, images), targets)
        probability[lit_pixels(images) > k] = 0  # not of this set
        best = probability.view(-1, classes).amax(dim=0)
        by = [name if better else old for better, old in zip((best > found).tolist(), by, strict=True)]
        found = torch.maximum(found, best)
    return found, tuple(by)
