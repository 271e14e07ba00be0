"""The network as anyone would train it: half A, K outputs, nothing else. Every defense is measured against it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.task import Recorder, Round, Task, defense
from defenses.alone import one_round


@defense()
def undefended(task: Task, recorder: Recorder) -> Iterator[Round]:
    """Train once on real data; one round, no images, no training history."""
    yield from one_round(task, recorder, "undefended")
