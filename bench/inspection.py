"""What people look at: real test images, and what reached the threat model, drawn from a run's stored images."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from bench.errors import BadInputError
from bench.materials.data import Data, load
from bench.materials.judge import FittedJudge, measuring_judge
from bench.materials.split import Split
from bench.record import Certificate, InspectionError
from bench.seeds import derive, generator
from bench.sheets import sheet
from bench.types import Outcome
from bench.verify import OUTCOMES, Verified

PLACES = {"control": "control", "cascade-final": "final"}  # folder of the run -> place as people know it
REACHED = (Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION)  # confident and sparse
FIELDS = ("images", "targets", "probability", "pixels", "score", "outcome")
SAME_SCORE = 1e-3  # the most that one judge's scores differ between machines
LEAST = 20  # images of a page


@dataclass(frozen=True)
class Shown:
    """One image to look at, and what is known of it.

    Args:
        png: the image, enlarged without smoothing.
        kind: whether it is a real test image.
        attack, place: what made it and against which network; None for a real image.
        label: its class, or the class it was to be taken for.
        score: the measuring judge's.
        rejected_working, rejected_strict: whether the judge rejects it.
    """

    png: bytes
    kind: Literal["real", "generated"]
    attack: str | None
    place: str | None
    label: str
    score: float
    rejected_working: bool
    rejected_strict: bool


def collect(certificate: Certificate, folder: Path, images: int, seed: int, data_root: Path) -> list[Shown]:
    """Half real images, balanced over classes; half generated, as many from the final network as from the control.

    Generated ones are drawn at random among all that are confident and sparse, whatever the judge says of them.
    With fewer of them than half of `images`, all are taken and as many real ones.

    Args:
        folder: the run's, with `config.json` and `generated/`.
        images: at most so many.
        seed: of the draw.
        data_root: where data sets lie.

    Raises:
        InspectionError: nothing is stored, what is stored was changed, or data or judge are not the run's.
    """
    found = {place: list(_reached(certificate, folder, place)) for place in PLACES}
    if not any(found.values()):
        n, k = certificate.budget.images, certificate.threat.k
        raise InspectionError(
            f"{folder}: no confident, sparse image is stored there (expected generated/control/ATTACK-{n}x{k}."
            "safetensors, named in the certificate): give the run's own folder, not a copy of its certificate"
        )
    generated = _drawn(found, images // 2, seed)
    if 2 * len(generated) < LEAST:
        raise InspectionError(
            f"{folder}: {len(generated)} confident, sparse images are stored; expected at least {LEAST // 2}: "
            "inspect a run with a larger budget"
        )
    data, judge = _as_in_the_run(certificate, folder, data_root)
    return [*_generated(generated, judge, data, folder), *_real(data, judge, len(generated), seed)]


def _reached(certificate: Certificate, folder: Path, place: str) -> Iterator[tuple[str, str, Verified]]:
    """(place, attack, one image) of all that an attack made confident and sparse at the run's own budget."""
    form = re.compile(
        rf"generated/{place}/([\w.-]+)-{certificate.budget.images}x{certificate.threat.k}\.safetensors", re.ASCII
    )
    for name, digest in sorted(certificate.hashes.items()):
        match = form.fullmatch(name)
        if match and (folder / name).is_file():
            made = _read(folder / name, digest, certificate.image_shape)
            for index in made.is_(*REACHED).nonzero().flatten():
                yield PLACES[place], match[1], made[index[None]]


def _read(path: Path, digest: str, shape: tuple[int, int, int]) -> Verified:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise InspectionError(f"{path}: changed since it was certified; make the run again with --fresh")
    try:
        stored = load_safetensors(data)
        made = Verified(**{name: stored[name] for name in FIELDS})
    except (SafetensorError, KeyError) as error:
        raise InspectionError(f"{path}: {error}; expected tensors {', '.join(FIELDS)}") from None
    if tuple(made.images.shape[1:]) != shape:
        raise InspectionError(f"{path}: images {tuple(made.images.shape[1:])}; expected {shape}, the certificate's")
    return made


def _drawn(found: dict[str, list], count: int, seed: int) -> list[tuple[str, str, Verified]]:
    """Half from each place; where one has fewer, more of the other."""
    order = generator(seed, "inspection", "generated")
    control, final = (
        [found[place][index] for index in torch.randperm(len(found[place]), generator=order)]
        for place in ("control", "cascade-final")
    )
    of_final = min(len(final), max(count // 2, count - len(control)))
    return control[: count - of_final] + final[:of_final]


def _as_in_the_run(certificate: Certificate, folder: Path, data_root: Path) -> tuple[Data, FittedJudge]:
    """The run's data, and its measuring judge fitted again."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        fingerprint, seed, threads = config["data"], int(config["seed"]), int(config["threads"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InspectionError(f"{folder / 'config.json'}: {error}; expected the run's own settings there") from None
    torch.set_num_threads(threads)  # sums must repeat
    try:
        data = load(certificate.dataset, root=data_root, seed=seed, allow_download=False)
    except BadInputError as error:
        raise InspectionError(f"{error}; or say with --data-root where it lies") from None
    if data.fingerprint != fingerprint or data.spec.class_names != certificate.class_names:
        raise InspectionError(
            f"{certificate.dataset} under {data_root} is not the data of the run; expected the same images: "
            "say with --data-root where they lie"
        )
    half = data.b_train
    return data, measuring_judge(half.images, half.labels, seed=derive(seed, "measuring judge"))


def _generated(drawn: list[tuple[str, str, Verified]], judge: FittedJudge, data: Data, folder: Path) -> Iterator[Shown]:
    images = torch.cat([made.images for _, _, made in drawn])
    off = (judge.score(images) - torch.cat([made.score for _, _, made in drawn])).abs().max().item()
    rejected = [made.is_(Outcome.FOOLING).item() for _, _, made in drawn]
    if off > SAME_SCORE:
        raise InspectionError(
            f"{folder}: the judge fitted here scores the run's images otherwise (by up to {off:.3g}; expected at most "
            f"{SAME_SCORE}): use the code and the package versions that the certificate names"
        )
    for (place, attack, made), strict in zip(drawn, rejected, strict=True):
        yield Shown(
            png=sheet(made.images),
            kind="generated",
            attack=attack,
            place=place,
            label=data.spec.class_names[int(made.targets)],
            score=float(made.score),
            rejected_working=strict or OUTCOMES[int(made.outcome)] is Outcome.BORDERLINE,
            rejected_strict=strict,
        )


def _real(data: Data, judge: FittedJudge, count: int, seed: int) -> Iterator[Shown]:
    chosen = _balanced(data.test, data.spec.real_classes, count, seed)
    for image, label, score in zip(chosen.images, chosen.labels, judge.score(chosen.images), strict=True):
        yield Shown(
            png=sheet(image[None]),
            kind="real",
            attack=None,
            place=None,
            label=data.spec.class_names[int(label)],
            score=float(score),
            rejected_working=bool(score > judge.working),
            rejected_strict=bool(score > judge.strict),
        )


def _balanced(real: Split, classes: int, count: int, seed: int) -> Split:
    """Real images drawn at random, as many of each class as of any other."""
    mixed = real[torch.randperm(len(real), generator=generator(seed, "inspection", "real"))]
    rank = torch.zeros(len(mixed), dtype=torch.long)
    for label in range(classes):
        of_class: Tensor = mixed.labels == label
        rank[of_class] = torch.arange(int(of_class.sum()))
    return mixed[rank.argsort(stable=True)[:count]]
