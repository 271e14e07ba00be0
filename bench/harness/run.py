"""One pytest run over the suites: when it is whole, what it writes, how it exits."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from bench.arithmetic import plain_float32
from bench.errors import BadInputError, NonFiniteError
from bench.harness.certify import certify, criteria_in, scope_of
from bench.harness.options import settings_from
from bench.harness.preflight import preflight
from bench.harness.progress import Progress
from bench.harness.proof import ProofViolatedError
from bench.harness.session import Session
from bench.record import Certificate, VerdictName
from bench.store import LOCKS, StoreError

NARROWING = ("keyword", "markexpr", "lf", "deselect", "stepwise")  # pytest's options that leave tests out
PLACES = ("--run-root", "--run-dir", "--data-root")


class Run:
    """One pytest run over the suites, as the plugin sees it."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.settings = settings_from(config)
        self.progress = Progress(config)
        self.session = Session(self.settings, self.progress)
        self.is_worker = hasattr(config, "workerinput")
        self.decided: set[int] = set()
        self.finished = 0
        self.deselected = 0
        self.certificate: Certificate | None = None
        self.written: list[Path] = []
        self.problem: str | None = None
        self._held = ExitStack()

    def start(self) -> None:
        """Preflight; in the one process that controls the run, also take its folder."""
        torch.set_num_threads(self.settings.threads)
        if self.settings.device != "cpu":  # there it imports a compiler, for operations that are deterministic anyway
            torch.use_deterministic_algorithms(True)
        preflight(self.session)
        prove, pixels = self.config.option.prove, self.session.spec.pixels
        if prove is not None and prove > pixels:
            raise BadInputError(f"--prove {prove}; expected at most {pixels}, the pixels of an image")
        plain_float32()
        if not self.is_worker:
            self._held.enter_context(self.session.store.hold())
            if self.settings.fresh:
                self.session.lab.forget()
                self.session.store.clear(keep=("run.lock", LOCKS, "config.json"))

    def partial(self, session: pytest.Session) -> bool:
        """Whether anything of the eleven was left out, stopped or could not be decided."""
        option = self.config.option
        narrowed = any("::" in arg or Path(arg).is_file() for arg in self.config.args)
        stopped = bool(session.shouldstop or session.shouldfail) or self.finished < session.testscollected
        picked = any(getattr(option, name, None) for name in NARROWING)
        return bool(narrowed or stopped or picked or self.deselected or len(self.decided) < 11)

    def finish(self, session: pytest.Session) -> None:
        """Write the certificate and the leaderboard of a whole run; set the exit status."""
        self.progress.close()
        with self._held:
            if session.config.option.collectonly or self.is_worker:
                return
            if self.partial(session):
                self.problem = f"partial: {len(self.decided)} of 11, nothing certified"
                if session.exitstatus == pytest.ExitCode.INTERRUPTED:
                    self.problem += "; the same command, without --fresh, goes on from what is stored"
                return
            words = ["pytest", *without_places(self.config.invocation_params.args)]
            try:
                self.certificate = certify(self.session, shlex.join(words))
            except (NonFiniteError, StoreError) as error:
                self.problem = f"nothing certified: {error}"
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                return
            except ProofViolatedError as error:
                self.problem = f"nothing certified: {error}"
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
                return
            self.written.append(self.session.store.path("certificate.json"))
            self.written.append(self._render())
        scope = scope_of(self.session)
        held = [self.certificate.criteria[i] for i in criteria_in(scope)]
        passed = all(criterion.verdict == VerdictName.PASS for criterion in held)
        if session.exitstatus == pytest.ExitCode.OK and (not passed or scope != self.config.option.scope):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            if passed:
                self.problem = f"all of scope {scope} passes; exit status 0 at this scope needs --scope={scope}"

    def _render(self) -> Path:
        from reports.build import build, find_certificates

        root = self.settings.run_root
        own = self.session.store.path("certificate.json")
        found = find_certificates([root]) if root.exists() else []
        return build(found if own in found else [*found, own], root / "site")

    # Hooks: counts what the controlling process hears of its tests, its workers' included.

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.finished += 1
        decided = getattr(report, "distal_decided", None)
        if report.when == "call" and decided is not None:
            self.decided.add(decided)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.deselected += len(items)


def without_places(words: Iterable[str]) -> list[str]:
    """A command's words but for where its run and its data lie: no figure follows from that, it may name a person."""
    kept, skipped = [], False
    for word in map(str, words):
        option, equals, _ = word.partition("=")
        if not skipped and option not in PLACES:
            kept.append(word)
        skipped = not skipped and option in PLACES and not equals
    return kept
