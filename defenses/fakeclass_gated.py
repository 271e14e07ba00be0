"""`fakeclass` behind the gate of `sparse_gate`: a proof for few lit pixels, fake classes against the rest."""

from __future__ import annotations

from collections.abc import Iterator

from attacks.l1_sparse import l1_sparse
from bench.task import Recorder, Round, Task, defense
from defenses.gate import gated
from defenses.rounds import labelled, rounds
from defenses.sparse_gate import shut


@defense(shape=gated, l1_sparse=l1_sparse)
def fakeclass_gated(task: Task, recorder: Recorder) -> Iterator[Round]:
    """K fake classes, one per real class, and the gate's; the attack sees the gate, too."""
    k = task.spec.real_classes
    yield from rounds(
        task,
        recorder,
        name="fakeclass_gated",
        attacks={"l1_sparse": l1_sparse},
        outputs=2 * k + 1,
        teach=labelled(lambda targets: targets + k),
        prepare=shut,
    )
