"""What the commands store: one JSON file each, whole, finite, and readable without torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from bench.files import write_whole
from bench.record import Count, Ratio, Record, Sha256

SCHEMA_VERSION = 1
NUMBERS = re.compile(r"\[\s+([-\d.e+,\s]|null)+\]")  # a list of numbers alone, spread over lines

Measured = Annotated[float, Field(ge=0)]
Pixels = tuple[Count | None, ...]  # of each target; None where no image of it is confident


class RecordError(Exception):
    """A stored file that can't be read: names the file, what was found and what to do."""


class Header(Record):
    """What made a file.

    Args:
        command: makes it again.
        settings: all that was asked for; figures of other settings never share a file.
        revision: git commit of the code that wrote it last.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    command: str
    seed: Count
    settings: dict[str, str | int | float]
    revision: str


class Cell(Record):
    """One attack on one network.

    Args:
        key: hash of all that decides the figures: sources, weights, settings, library versions.
        way: a "minimiser" is asked for no pixels, to the end of its budget; "descent" asks several times, each time
            for fewer than were found; a "peer" is another library's.
        problem: why there are no figures.
        pixels: lit pixels of each target's sparsest confident image.
        pruned: the same after pruning beyond the budget, for other libraries' attacks.
        passes, pruning: passes an image, of the attack and of that pruning.
        seconds: on the machine at hand.
        revision: git commit of the code that measured this cell.
    """

    key: Sha256
    way: Literal["minimiser", "descent", "peer"]
    problem: str | None = None
    pixels: Pixels = ()
    pruned: Pixels = ()
    passes: Measured = 0
    pruning: Measured = 0
    seconds: Measured = 0
    revision: str


class Network(Record):
    """One undefended network and the attacks on it, by name.

    Args:
        accuracy: on held-out validation images.
        weights: SHA-256 of its weights.
    """

    accuracy: Annotated[float, Field(ge=0, le=1)]
    weights: Sha256
    cells: dict[str, Cell] = Field(default_factory=dict)


class Strength(Header):
    """`strength`: the fewest pixels of every attack, target by target.

    Args:
        targets: the class of each target.
        ensemble, peers: the attacks that are to be measured on each network.
        networks: by name.
    """

    kind: Literal["strength"] = "strength"
    dataset: str
    targets: tuple[Count, ...]
    ensemble: tuple[str, ...]
    peers: tuple[str, ...]
    networks: dict[str, Network] = Field(default_factory=dict)


class TinyNetwork(Record):
    """One tiny network.

    Args:
        optimum: fewest lit pixels of each class, by enumeration; None: more than were enumerated.
        enumerated: the most pixels that were.
        reached: attack -> fewest lit pixels of each class.
    """

    key: Sha256
    family: str
    optimum: Pixels
    enumerated: Count
    reached: dict[str, Pixels]
    revision: str


class Tiny(Header):
    """`tiny`: what the attacks reach beside the true optimum.

    Args:
        ensemble: the attacks.
        planned: the networks that are to be measured.
        networks: by name.
    """

    kind: Literal["tiny"] = "tiny"
    ensemble: tuple[str, ...]
    planned: tuple[str, ...]
    networks: dict[str, TinyNetwork] = Field(default_factory=dict)


class Chain(Record):
    """One attack in the cascade.

    Args:
        targets: how many still stood.
        passes: image passes over them.
        fooled: which of all targets it fooled.
    """

    targets: Count
    passes: Count
    fooled: tuple[Count, ...]


class SuccessRow(Record):
    """One attack on the control.

    Args:
        reached: targets with a confident and sparse image, and what that proves.
        healthy: the bound is high enough for a failure elsewhere to be evidence.
        outcomes: the six, counted.
        passes: image passes over all targets.
        fooled: which targets it fooled.
        seconds: on the machine at hand.
        chain: its part in the cascade; None for an attack that is given images to start from.
    """

    reached: Ratio
    healthy: bool
    outcomes: dict[str, Count]
    passes: Count
    fooled: tuple[Count, ...]
    seconds: Measured
    chain: Chain | None


class Success(Header):
    """`success`: every attack on the undefended control, alone and in the cascade.

    Args:
        health: the bound that makes an attack healthy.
        rows: by attack; those in the cascade first, in its order.
    """

    kind: Literal["success"] = "success"
    dataset: str
    network: str
    accuracy: Annotated[float, Field(ge=0, le=1)]
    targets: Count
    passes: Count
    restarts: Count
    health: Annotated[float, Field(ge=0, le=1)]
    rows: dict[str, SuccessRow]


Kind = TypeVar("Kind", bound=Header)


def read(path: Path, kind: type[Kind]) -> Kind:
    """Read and validate one file.

    Raises:
        RecordError: it is missing, is no JSON, or does not match the schema.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; expected a file that a command made") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise RecordError(f"{path}: {where}: {first['msg']}; delete it and measure again") from None


def stored(path: Path, record: Kind, fresh: bool) -> Kind | None:
    """The file that is already there, if its settings are these; None where there is none, or `fresh` replaces it.

    Raises:
        RecordError: its settings are others, or it can't be read.
    """
    if fresh or not path.exists():
        return None
    before = read(path, type(record))
    if before.settings != record.settings:
        differs = sorted(n for n in record.settings if before.settings.get(n) != record.settings[n])
        raise RecordError(
            f"{path} holds figures of other settings ({', '.join(differs)}); expected the same: give another folder "
            "with --into, or --fresh to replace them"
        )
    return before


def write(path: Path, record: Header) -> None:
    """Store one file, atomically; a list of numbers takes one line."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False)
    text = NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"
    write_whole(path, text.encode())
