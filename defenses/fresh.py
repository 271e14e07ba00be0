"""`fakeclass` with a new network each time new images come: trained from scratch on real data and all fakes so far.

So Nguyen, Yosinski and Clune, https://arxiv.org/abs/1412.1897, section 3.6, got DNN_2 from what fooled DNN_1, and on.
A network that never saw the last one's weights has nothing to forget, and no attack on the last one was tuned to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attacks.l1_sparse import l1_sparse
from bench.task import Recorder, Round, Task, defense
from defenses.rounds import labelled, rounds


@defense(l1_sparse=l1_sparse)
def fresh(task: Task, recorder: Recorder) -> Iterator[Round]:
    """The rounds of `fakeclass`; only where the weights begin, and how long they train, differ."""
    k = task.spec.real_classes
    yield from rounds(
        task,
        recorder,
        name="fresh",
        attacks={"l1_sparse": l1_sparse},
        outputs=2 * k,
        teach=labelled(lambda targets: targets + k),
        anew=True,
    )
