"""What a folder says it was made with -> the settings to check it with, and whose code that needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from bench.audit.difference import Difference, RefusedError
from bench.budgets import BUDGETS
from bench.harness.registry import ATTACKS, DEFENSES, NETWORKS, Registry
from bench.harness.settings import Settings
from bench.record import Certificate, Count, Record, Sha256
from bench.store import from_json
from bench.thresholds import Thresholds

CONFIG = "config.json"
Name = Annotated[str, Field(max_length=300)]


class Config(Record):
    """`config.json` of a run."""

    dataset: Name
    defense: Name | None
    network: Name
    attacks: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200)]
    budget: Literal["quick", "standard", "full"]
    seed: Count
    device: Name
    threads: Annotated[int, Field(ge=1, le=256)]
    passes: Annotated[int, Field(ge=1)] | None = None
    max_rounds: Annotated[int, Field(ge=1)] | None
    replay_sample: Annotated[int, Field(ge=1)] | None
    p: Annotated[float, Field(gt=0, le=1)]
    k: Annotated[int, Field(ge=1)]
    data: Sha256
    code: Sha256
    torch: Name
    thresholds: Thresholds
    weights: Sha256 | None
    sources: tuple[Name, ...]


def read_config(copy: Path) -> Config:
    """Read what a run was asked for.

    Raises:
        RefusedError: missing, or not what a run writes.
    """
    try:
        config = Config.model_validate(from_json((copy / CONFIG).read_bytes()))
    except OSError:
        raise RefusedError(CONFIG, "the run's settings", "no such file") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RefusedError(f"{CONFIG}: {where}", str(first.get("input"))[:80], first["msg"]) from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(CONFIG, "the run's settings", f"no JSON: {error}") from None
    if set(config.thresholds.rates) != set(range(9)):
        raise RefusedError(f"{CONFIG}: thresholds.rates", sorted(config.thresholds.rates), "criteria 0 to 8 expected")
    least = BUDGETS[config.budget].passes
    if config.passes is not None and config.passes < least:
        found = f"at least the {least} of budget {config.budget} expected: fewer are weaker"
        raise RefusedError(f"{CONFIG}: passes", config.passes, found)
    if len(set(config.attacks)) != len(config.attacks):
        raise RefusedError(f"{CONFIG}: attacks", ", ".join(config.attacks), "an attack twice")
    return config


def contradictions(certificate: Certificate, config: Config) -> Iterator[Difference]:
    """Where a certificate says other settings than its run."""
    pairs = (
        ("dataset", certificate.dataset, config.dataset),
        ("defense", certificate.defense, config.defense),
        ("network", certificate.network, config.network),
        ("attacks", certificate.attacks, config.attacks),
        ("budget.name", certificate.budget.name, config.budget),
        ("threat.p", certificate.threat.p, config.p),
        ("threat.k", certificate.threat.k, config.k),
        ("environment.seed", certificate.environment.seed, config.seed),
        ("environment.threads", certificate.environment.threads, config.threads),
        ("environment.device", certificate.environment.device, config.device),
        ("checkpoint", certificate.checkpoint is not None, config.weights is not None),
    )
    for field, said, found in pairs:
        if said != found:
            yield Difference(field, repr(said), f"{found!r} in {CONFIG}")


def check_names(config: Config, trust_code: bool) -> None:
    """See that no name makes us import a stranger's choice of code; attacks are named, and never loaded.

    Raises:
        RefusedError: a name of someone's own code without `trust_code`, or an attack that nobody here knows.
    """
    for field, registry, name in (("defense", DEFENSES, config.defense), ("network", NETWORKS, config.network)):
        if name is not None and not trust_code and not _known(registry, name):
            raise RefusedError(field, repr(name), "code that is no part of Distal, not imported without --trust-code")
    for place, name in enumerate(config.attacks):
        if ":" not in name and name not in ATTACKS.names():
            found = "an attack unknown here; expected one of Distal's, or one named as module:function"
            raise RefusedError(f"attacks.{place}", repr(name), found)


def _known(registry: Registry, name: str) -> bool:
    family, colon, rest = name.partition(":")
    if colon and family in registry.families:
        return _known(registry, rest)
    return name in registry.names()


def settings_of(
    certificate: Certificate, config: Config, copy: Path, dataset: str | None, data_root: Path, download: bool
) -> Settings:
    """The run again, on the CPU, from its copy.

    Args:
        dataset: where a data set of one's own lies here, "folder:PATH"; a stranger's path is never opened.

    Raises:
        RefusedError: a data set of one's own, and no word where it lies.
    """
    own = config.dataset.startswith("folder:")
    if own and dataset is None:
        found = "a folder on another machine; say where it lies here with --dataset folder:PATH"
        raise RefusedError("dataset", repr(config.dataset), found)
    return Settings(
        dataset=dataset if own and dataset else config.dataset,
        defense=config.defense if certificate.checkpoint is None else None,
        checkpoint=None if certificate.checkpoint is None else Path(certificate.checkpoint),
        network=config.network,
        attacks=config.attacks,
        budget=config.budget,
        seed=config.seed,
        device="cpu",
        threads=config.threads,
        passes=config.passes,
        max_rounds=config.max_rounds,
        replay_sample=config.replay_sample,
        p=config.p,
        k=config.k,
        thresholds=None,
        data_root=data_root,
        download=download,
        run_root=copy,
        run_dir=copy,
        fresh=False,
    )
