"""A run's rounds: the defense trains, the recorder scores, the history keeps; what is stored is not trained again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.errors import BadInputError
from bench.harness.history import History, Past
from bench.harness.recorder import RunRecorder
from bench.materials.data import Split
from bench.task import Task
from bench.types import Budget, ThreatModel

if TYPE_CHECKING:
    from bench.harness.session import Session

DONE = "rounds/done.json"


def trained(session: Session) -> list[Past]:
    """Every round of the session's defense, trained by whichever process asks first.

    Raises:
        BadInputError: the defense yielded no round.
    """
    history = History(
        session.store,
        session.defense,
        session.spec,
        session.lab.measuring_judge,
        session.threat_of,
        session.settings.plan,
        session.settings.seed,
        lambda outputs: session.new_network(outputs, 0),
    )
    with session.store.working(DONE):
        history.load()
        if not session.store.has(DONE):
            _train(session, history)
            session.store.save_json(DONE, {"rounds": len(history.rounds)})
    return history.rounds


def _train(session: Session, history: History) -> None:
    started = time.monotonic()
    settings, plan = session.settings, session.settings.plan
    recorder = RunRecorder(
        session.store,
        history,
        session.data,
        session.threat_of,
        settings.p,
        settings.replay_sample,
        settings.seed,
        session.say,
    )
    task = Task(
        spec=session.spec,
        train=_copied(session.data.a_train),
        validation=_copied(session.data.a_val),
        judge=session.lab.training_judge,
        new_network=session.new_network,
        threat=ThreatModel(settings.p, session.k),
        images=plan.images,
        budget=Budget(plan.training_passes),
        max_rounds=settings.max_rounds or plan.rounds,
        seed=settings.seed,
        past=history.as_rounds(),
    )
    session.say(f"training {settings.defense}")
    for finished in session.defense(task, recorder):
        if finished.batch is not None and recorder.pending is None:
            recorder.generated(finished.index, finished.batch)
        images = recorder.pending
        recorder.finished()  # before the round counts as stored, so that no finished round lacks its lines
        history.admit(finished, images)
    recorder.close()
    if not history.rounds:
        raise BadInputError(f"--defense {settings.defense}: it yielded no round; expected at least one network")
    session.add_cost("training", time.monotonic() - started, 0, 0)


def _copied(split: Split) -> Split:
    """Real data that a defense may change in place without changing what it is measured on."""
    return Split(split.images.clone(), split.labels.clone())
