"""`success`: every attack on the undefended control at a standing budget, alone and in the cascade."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from bench.arsenal.ensemble import ATTACKS, ensemble
from bench.arsenal.record import Chain, Success, SuccessRow, write
from bench.errors import BadInputError
from bench.harness.gallery import REACHED, Gallery
from bench.harness.lab import accuracy
from bench.harness.measure import HEALTHY
from bench.harness.preflight import preflight
from bench.harness.provenance import revision
from bench.harness.session import Session
from bench.harness.settings import Settings
from bench.harness.step import Made
from bench.types import Outcome
from bench.verdict.stats import ratio


def settings(
    dataset: str, network: str, attacks: tuple[str, ...], budget: str, seed: int, data_root: Path, download: bool,
    run_root: Path,
) -> Settings:  # fmt: skip
    """A run of the suites on an undefended network, with these attacks."""
    return Settings(
        dataset=dataset,
        defense="undefended",
        checkpoint=None,
        network=network,
        attacks=attacks,
        budget=budget,
        seed=seed,
        device="cpu",
        threads=1,
        passes=None,
        max_rounds=None,
        replay_sample=None,
        p=0.9,
        k=None,
        thresholds=None,
        data_root=data_root,
        download=download,
        run_root=run_root,
        run_dir=None,
        fresh=False,
    )


def session_of(asked: Settings) -> Session:
    """The run, its attacks loaded without pytest.

    Raises:
        BadInputError: an attack that is not in the ensemble, or anything a run of the suites refuses.
    """
    known = ensemble()
    unknown = [name for name in asked.attacks if name not in known]
    if unknown:
        raise BadInputError(f"--attack {unknown[0]}: not in the ensemble; expected one of {', '.join(known)}")
    session = Session(asked)
    preflight(session)
    session.attacks = {name: known[name] for name in asked.attacks}
    return session


def measure(asked: Settings, command: str, path: Path) -> None:
    """Measure every attack; the run's folder keeps what is done, so that a killed command goes on.

    Raises:
        BadInputError: bad input, in one line.
        NonFiniteError: an attack or the control came to NaN.
    """
    session = session_of(asked)
    with tqdm(asked.attacks, disable=None) as bar, session.store.hold():
        session.say = session.lab.say = bar.set_description_str
        alone = {name: session.gallery.made("control", name) for name in bar}
        chain = from_nothing(session).cascade("control")
    plan = asked.plan
    rows = {name: _row(session, name, alone[name], chain.get(name)) for name in (*chain, *sorted({*alone} - {*chain}))}
    record = Success(
        command=command,
        seed=asked.seed,
        settings={"dataset": asked.dataset, "network": asked.network, "budget": asked.budget, "seed": asked.seed},
        revision=revision(),
        dataset=asked.dataset,
        network=asked.network,
        accuracy=accuracy(session.lab.control, session.data.a_val),
        targets=plan.images,
        passes=plan.passes,
        restarts=plan.restarts,
        health=HEALTHY,
        rows=rows,
    )
    write(path, record)


def from_nothing(session: Session) -> Gallery:
    """The run's images, without the attacks that are given images to start from.

    What those start from has cost other attacks their passes: with them, a cascade would look cheaper than it is.
    """
    part = copy(session)
    attacks = tuple(name for name in session.settings.attacks if name not in ATTACKS.started)
    part.settings = replace(session.settings, attacks=attacks)
    part.gallery = Gallery(part)
    return part.gallery


def _row(session: Session, name: str, made: Made, chain: Made | None) -> SuccessRow:
    found = made.verified
    reached = ratio(int(found.is_(*REACHED).sum()), len(made.targets))
    cost = session.store.load_json("cost.json")[f"generated/control/{name}-{len(made.targets)}x{session.k}.safetensors"]
    return SuccessRow(
        reached=reached,
        healthy=reached.lower >= HEALTHY,
        outcomes=found.counts(),
        passes=made.passes,
        fooled=_fooled(made),
        seconds=cost["seconds"],
        chain=chain and Chain(targets=len(chain.targets), passes=chain.passes, fooled=_fooled(chain)),
    )


def _fooled(made: Made) -> tuple[int, ...]:
    """Which of the place's targets have a fooling image."""
    return tuple(made.targets[made.verified.is_(Outcome.FOOLING)].tolist())
