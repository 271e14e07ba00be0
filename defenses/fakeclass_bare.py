"""Fake classes and nothing else: `fakeclass` without its distances, its pool and its other attacks.

Each round attacks the network, labels what the training judge rejects with the fake class of its target (a digit
is no fake), and trains on real images, the new fakes and a replay of all past ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from attacks.l1_sparse import l1_sparse
from bench.task import Recorder, Round, Task, defense
from defenses.rounds import labelled, rounds


@defense(l1_sparse=l1_sparse)
def fakeclass_bare(task: Task, recorder: Recorder) -> Iterator[Round]:
    """K fake classes, one per real class: an image made for class t is taught as K + t."""
    k = task.spec.real_classes
    yield from rounds(
        task,
        recorder,
        name="fakeclass_bare",
        attacks={"l1_sparse": l1_sparse},
        outputs=2 * k,
        teach=labelled(lambda targets: targets + k),
    )
