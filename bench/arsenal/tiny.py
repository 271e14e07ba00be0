"""`tiny`: the attacks beside the true optimum, found by enumeration, on networks small enough for it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from bench.arsenal import sparsest
from bench.arsenal.ensemble import ATTACKS, unaided
from bench.arsenal.record import Pixels, Tiny, TinyNetwork, stored, write
from bench.arsenal.sources import sources
from bench.harness.provenance import digest, revision, source_hash
from bench.materials.networks import build
from bench.materials.split import Split
from bench.materials.training import train_classifier
from bench.seeds import derive, generator
from bench.types import Attack, ImageSpec, ThreatModel
from bench.verify import logits_of, reached

WIDTH = 16
GAIN = 12.0  # on random networks' logits, so that a few pixels decide
TRAINING_EPOCHS = 30
STARTS = 4  # targets of each class: an attack has as many tries


@dataclass(frozen=True)
class Family:
    """A kind of tiny network.

    Args:
        side: of an image.
        levels: of the value grid.
        classes: outputs.
        most: lit pixels that are enumerated, at most.
        learned: trained on digits that were shrunk to this side; else random.
    """

    side: int
    levels: int
    classes: int
    most: int
    learned: bool = False

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec((1, self.side, self.side), self.levels, tuple(map(str, range(self.classes))))


FAMILIES = {
    "random 3x3, 4 levels": Family(3, 4, 3, 9),
    "random 4x4, 2 levels": Family(4, 2, 4, 6),
    "digits shrunk to 4x4, 3 levels": Family(4, 3, 10, 5, learned=True),
}


def planned(networks: int) -> dict[str, tuple[str, int]]:
    """Name -> (family, number), as many as asked for; families take turns."""
    families = list(FAMILIES)
    return {f"{i:03d}": (families[i % len(families)], i) for i in range(networks)}


def small_mlp(spec: ImageSpec, outputs: int) -> nn.Sequential:
    """One hidden layer: images [N, C, H, W] in [0, 1] -> logits [N, outputs]."""
    return nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


def tiny_network(family: Family, seed: int) -> nn.Module:
    """A network of a family, in eval mode, that follows from the seed."""
    network = build(small_mlp, family.spec, family.classes, seed)
    if family.learned:
        train_classifier(network, shrunk(family), generator=generator(seed), epochs=TRAINING_EPOCHS)
    else:
        with torch.no_grad():
            network[-1].weight *= GAIN
    return network.eval()


def shrunk(family: Family) -> Split:
    """scikit-learn's digits, averaged to the family's side and rounded to its grid."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    small = avg_pool2d(images, images.shape[-1] // family.side)
    return Split(family.spec.round(small), torch.from_numpy(bunch.target).long())


def optimum(network: nn.Module, spec: ImageSpec, p: float, most: int) -> Pixels:
    """Fewest lit pixels with which any image of the value grid reaches p, for each class; None: more than `most`.

    Every support of at most `most` pixels is tried with every value.
    """
    found: list[int | None] = [None] * spec.real_classes
    for pixels in range(most + 1):
        images = every_image(spec, pixels)
        logits = logits_of(network, images)
        for label in range(spec.real_classes):
            targets = torch.full((len(images),), label)
            if found[label] is None and reached(logits, images, targets, ThreatModel(p, pixels)).any():
                found[label] = pixels
        if None not in found:
            break
    return tuple(found)


def every_image(spec: ImageSpec, pixels: int) -> Tensor:
    """All images of one channel with exactly so many lit pixels -> [n, 1, H, W]."""
    supports = torch.tensor(list(combinations(range(spec.pixels), pixels)), dtype=torch.long)
    grid = [value / spec.levels for value in range(1, spec.levels + 1)]
    values = torch.tensor(list(product(grid, repeat=pixels)))
    images = torch.zeros(len(supports), len(values), spec.pixels)
    images.scatter_(2, supports[:, None].expand(-1, len(values), -1), values.expand(len(supports), -1, -1))
    return images.view(-1, *spec.shape)


def fewest(
    attack: Attack, name: str, network: nn.Module, spec: ImageSpec, *, p: float, passes: int, seed: int
) -> Pixels:
    """Fewest lit pixels that an attack finds for each class; None: no confident image."""
    targets = torch.arange(spec.real_classes).repeat(STARTS)
    words = {"p": p, "passes": passes, "seed": derive(seed, name)}
    if name in ATTACKS.minimisers:
        found = sparsest.to_the_end(attack, network, spec, targets, **words)
    else:
        found = sparsest.ever_fewer(attack, network, spec, targets, **words, k=spec.pixels)
    columns = (found.pixels[label :: spec.real_classes] for label in range(spec.real_classes))
    return tuple(min((n for n in column if n is not None), default=None) for column in columns)


def measured(
    family: str, number: int, attacks: dict[str, Attack], *, p: float, passes: int, seed: int, key: str
) -> TinyNetwork:
    """One network: its true optimum, and what every attack reaches."""
    kind = FAMILIES[family]
    network = tiny_network(kind, derive(seed, "tiny", family, number))
    words = {"p": p, "passes": passes, "seed": derive(seed, "tiny", number, "attack")}
    return TinyNetwork(
        key=key,
        family=family,
        optimum=optimum(network, kind.spec, p, kind.most),
        enumerated=kind.most,
        reached={name: fewest(attack, name, network, kind.spec, **words) for name, attack in attacks.items()},
        revision=revision(),
    )


def measure(networks: int, passes: int, p: float, seed: int, command: str, path: Path, *, fresh: bool) -> None:
    """Measure every attack on so many networks; each is stored as soon as it is there.

    Raises:
        RecordError: the file at `path` holds figures of other settings, or can't be read.
    """
    attacks = unaided()
    plan = planned(networks)
    record = Tiny(
        command=command,
        seed=seed,
        settings={"networks": networks, "passes": passes, "p": p, "seed": seed},
        revision=revision(),
        ensemble=tuple(attacks),
        planned=tuple(plan),
    )
    before = stored(path, record, fresh)
    key = made_of(record.settings, attacks)
    for name, (family, number) in tqdm(plan.items(), desc="tiny networks", disable=None):
        if before and name in before.networks and before.networks[name].key == key:
            record.networks[name] = before.networks[name]
            continue
        record.networks[name] = measured(family, number, attacks, p=p, passes=passes, seed=seed, key=key)
        write(path, record)
    write(path, record)


def made_of(settings: dict, attacks: dict[str, Attack]) -> str:
    """Hash of all that decides a network's figures."""
    modules = (sparsest.__name__, "bench.materials.networks", "bench.materials.training")
    code = [source_hash(optimum), sources(*modules, *(attack.__module__ for attack in attacks.values()))]
    return digest([settings, sorted(attacks), sorted(ATTACKS.minimisers & {*attacks}), *code, torch.__version__])
