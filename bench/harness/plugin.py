"""The pytest plugin: thin hooks over a `Session`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BadInputError
from bench.harness.options import add_options
from bench.harness.proof import ProofViolatedError
from bench.harness.provenance import ROOT
from bench.harness.registry import ATTACKS
from bench.harness.run import Run
from bench.harness.session import Session
from bench.record import VerdictName
from bench.store import StoreError

SUITES = ROOT / "suites"
RUN = pytest.StashKey[Run]()
DECIDED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if not any(_covers(arg, config.invocation_params.dir) for arg in config.args):
        return
    try:
        run = Run(config)
        run.start()
    except (BadInputError, StoreError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[RUN] = run
    config.pluginmanager.register(run, "distal-run")


def _covers(arg: str, base: Path) -> bool:
    """Whether an argument asks for suites: the folder, something in it, or a folder around it."""
    path = (base / arg.split("::")[0]).resolve()
    return path == SUITES or SUITES in path.parents or path in SUITES.parents


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash.get(RUN, None)
    if run is None:
        return []
    settings = run.settings
    what = f"checkpoint {settings.weights_name}" if settings.checkpoint else f"defense {settings.defense}"
    return [
        f"distal: {what} on {settings.dataset}, network {settings.network}, budget {settings.budget}, "
        f"seed {settings.seed}, {settings.device}",
        f"distal: p {settings.p:g}, at most {run.session.k} of {run.session.spec.pixels} pixels; "
        f"attacks {', '.join(settings.attacks)}",
        f"distal: run directory {run.session.store.folder}",
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run = metafunc.config.stash.get(RUN, None)
    if run is None:
        return
    if "attack" in metafunc.fixturenames:
        metafunc.parametrize("attack", run.settings.attacks)
    if "real_class" in metafunc.fixturenames:
        metafunc.parametrize("real_class", run.session.spec.class_names)


@pytest.fixture(scope="session")
def distal(request: pytest.FixtureRequest) -> Session:
    """The run's session, its attacks loaded: fixtures by their names, others from where they are."""
    session = request.config.stash[RUN].session
    session.attacks = {name: _attack(request, name) for name in session.settings.attacks}
    return session


def _attack(request: pytest.FixtureRequest, name: str):
    return request.getfixturevalue(name) if name in ATTACKS else ATTACKS.load(name)


@pytest.fixture
def verdict(distal: Session, request: pytest.FixtureRequest):
    """Decide a criterion, one attack of it or one class of it; a test passes when it does.

    A failing or inconclusive verdict fails with its sentence; one that does not apply skips with its reason.
    """

    def check(criterion: int, *, attack: str | None = None, real_class: str | None = None) -> None:
        record = distal.criterion(criterion)
        row = (distal.attack_row(criterion, attack) if attack else None) or record
        if attack is None and real_class is None:
            request.node.stash[DECIDED] = criterion
        if row.verdict == VerdictName.NOT_APPLICABLE:
            pytest.skip(row.reason)
        if real_class is not None:
            found = next((c for c in record.per_class if c.label == real_class), None)
            if found is not None and found.fails:
                pytest.fail(_class_sentence(record, found), pytrace=False)
            return
        if row.verdict != VerdictName.PASS:
            pytest.fail(f"criterion {criterion} ({record.name}) {row.verdict}: {row.reason}", pytrace=False)

    return check


@pytest.fixture
def proof(distal: Session, request: pytest.FixtureRequest):
    """See how far the proof reaches; fails where `--prove` asks for more.

    An attack that found what is proved not to exist ends the run: something is wrong with Distal itself.
    """

    def check() -> None:
        try:
            found = distal.proof()
        except ProofViolatedError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.INTERNAL_ERROR)
        asked = request.config.option.prove
        if asked is not None and (found.proved_to is None or found.proved_to < asked):
            pytest.fail(f"{found.reason} --prove asks for {asked}.", pytrace=False)

    return check


@pytest.fixture
def perturbed(distal: Session):
    """Add fooling images to real ones; fails only where nothing could be measured, and says why."""

    def check() -> None:
        found = distal.perturbed()
        if not found.rows:
            pytest.fail(found.reason, pytrace=False)

    return check


def _class_sentence(record, row) -> str:
    return (
        f"criterion {record.id} ({record.name}), class {row.label}: {row.ratio.successes} of {row.ratio.n}, "
        f"{record.direction.replace('_', ' ')} {record.threshold} asked; a miss after Holm correction over the classes"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    # On the report, since it travels from a worker to the process that controls the run.
    report.distal_decided = item.stash.get(DECIDED, None)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    run = session.config.stash.get(RUN, None)
    if run is not None:
        run.finish(session)


def pytest_terminal_summary(terminalreporter) -> None:
    run = terminalreporter.config.stash.get(RUN, None)
    if run is None or terminalreporter.config.option.collectonly:
        return
    from reports.text import closing

    terminalreporter.section("distal")
    if run.certificate is not None:
        terminalreporter.write_line(closing(run.certificate))
        for path, what in zip(run.written, ("certificate", "leaderboard"), strict=True):
            terminalreporter.write_line(f"{what}: {path}")
    if run.problem:
        terminalreporter.write_line(run.problem)
