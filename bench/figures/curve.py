"""`curve`: what a proof up to k costs on real images, for `sparse_gate`'s gate and a plain one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from bench.arsenal.record import stored, write
from bench.errors import BadInputError
from bench.figures.networks import DEFENSE, MODULES, Certain, trained, trained_gate, weights_of
from bench.figures.record import Curve, CurveRow, GateFigures
from bench.figures.rival import trained_rival
from bench.figures.rows import fill, made_of
from bench.harness.proof import ProofViolatedError, sparsest_real
from bench.harness.provenance import revision
from bench.materials.data import Data, Split, load
from bench.materials.gate import Gated
from bench.proof.bounds import bounds, proved_to
from bench.seeds import generator
from bench.types import ImageSpec, lit_pixels
from bench.verify import logits_of, target_probability
from defenses.gate import oddities

P = 0.9
FILES = ("bench.figures.curve", "bench.figures.rival")
KS = {"mnist": (10, 20, 33, 45, 60, 90), "digits": (5, 10, 15, 19, 24)}


@dataclass(frozen=True)
class Asked:
    """What `curve` was asked for.

    Args:
        network: the classifier behind the gates, by name.
        ks: lit pixels to prove up to; empty: the data set's usual ones.
    """

    dataset: str
    network: str
    ks: tuple[int, ...]
    seed: int


def measure(asked: Asked, command: str, path: Path, *, data_root: Path, download: bool, cache: Path, fresh: bool):
    """Measure both gates at every k; each row is stored as soon as it is there.

    Raises:
        BadInputError: no such data set or network, no usual ks, or more lit pixels than an image has.
        RecordError: the file at `path` holds figures of other settings, or can't be read.
        ProofViolatedError: a real image shows that what is proved is wrong.
    """
    data = load(asked.dataset, root=data_root, seed=asked.seed, allow_download=download)
    ks = checked(asked.ks or KS.get(asked.dataset, ()), data.spec)
    settings = {"dataset": asked.dataset, "network": asked.network, "seed": asked.seed, "p": P}
    classifier = trained(asked.network, data, asked.seed, cache)
    probability, right = seen(classifier, data.test)
    record = Curve(
        command=command,
        seed=asked.seed,
        settings=settings,
        revision=revision(),
        dataset=asked.dataset,
        network=asked.network,
        p=P,
        images=len(data.test),
        sparsest=sparsest_real(data),
        accuracy=share(right),
        confident=share(probability >= P),
        weights=weights_of(classifier),
        planned=ks,
    )
    before = stored(path, record, fresh)

    def key_of(k: str) -> str:
        facts = (settings, k, record.weights, data.fingerprint)
        return made_of(*facts, modules=MODULES, alone=(*DEFENSE, *FILES))

    def make(k: str, key: str) -> CurveRow:
        return row(int(k), key, classifier, data, asked.seed)

    kept = before.rows if before else {}
    fill(record.rows, map(str, ks), kept, key_of, make, lambda: write(path, record), f"gates on {asked.dataset}")


def checked(ks: tuple[int, ...], spec: ImageSpec) -> tuple[int, ...]:
    """Ascending, each once.

    Raises:
        BadInputError: none, or more lit pixels than an image has.
    """
    if not ks:
        raise BadInputError(f"no k; expected --k, of at most {spec.pixels} lit pixels: this data set has no usual ones")
    if max(ks) > spec.pixels:
        raise BadInputError(f"--k {max(ks)}; expected at most {spec.pixels}, the pixels of an image")
    return tuple(sorted(set(ks)))


def row(k: int, key: str, classifier: nn.Module, data: Data, seed: int) -> CurveRow:
    """Both gates trained to one k, and the limit that S_k itself sets."""
    probability, _ = seen(classifier, data.test)
    more = lit_pixels(data.test.images) > k
    odd = oddities(data.test.images, generator(seed, "curve", "odd"))

    def figures(train: Callable[[Data, int, int], nn.Module]) -> GateFigures:
        began = time.perf_counter()
        gate = train(data, k, seed)
        seconds = time.perf_counter() - began
        return gate_figures(classifier, gate, data.spec, k, data.test, odd, seconds)

    return CurveRow(
        key=key,
        revision=revision(),
        k=k,
        ceiling=share(more),
        ceiling_confident=share(more & (probability >= P)),
        gate=figures(trained_gate),
        rival=figures(trained_rival),
    )


def gate_figures(
    classifier: nn.Module, gate: nn.Module, spec: ImageSpec, k: int, test: Split, odd: Tensor, seconds: float
) -> GateFigures:
    """What one gate does to real test images and to odd ones.

    Args:
        odd: from `oddities` of the test images: noise first, shuffled images last.

    Raises:
        ProofViolatedError: a real image with no more lit pixels than are proved reaches p.
    """
    alone = Gated(Certain(spec.real_classes), gate)
    proved = proved_to(alone, spec, (P,) * spec.real_classes)
    whole = Gated(classifier, gate)
    check_held(whole, spec, test.images, proved)
    probability, right = seen(whole, test)
    opened, odd_opened = (logits_of(gate, images).double().sigmoid().squeeze(1) for images in (test.images, odd))
    noise = len(odd) - len(test) // 2
    return GateFigures(
        proved=proved,
        open=share(opened >= P),
        above=share(opened > float(bounds(alone, spec, [k]).probability.max())),
        accuracy=share(right),
        confident=share(probability >= P),
        noise=share(odd_opened[:noise] < P),
        shuffled=share(odd_opened[noise:] < P),
        seconds=seconds,
    )


def seen(network: nn.Module, real: Split) -> tuple[Tensor, Tensor]:
    """Probability of the true class over all outputs [N], and whether it is predicted [N]."""
    logits = logits_of(network, real.images)
    return target_probability(logits, real.labels), logits.argmax(dim=1) == real.labels


def check_held(network: nn.Module, spec: ImageSpec, images: Tensor, proved: int | None) -> None:
    """Raises `ProofViolatedError` where an image [N, C, H, W] that is proved not to reach p does."""
    if proved is None or not len(few := images[lit_pixels(images) <= proved]):
        return
    reached = logits_of(network, few).softmax(dim=1)[:, : spec.real_classes].amax()
    if reached >= P:
        raise ProofViolatedError(
            f"internal error: no image with at most {proved} lit pixels should reach {P}, but a real one has "
            f"{float(reached):.4f}: please report it"
        )


def share(holds: Tensor) -> float:
    return float(holds.double().mean())
