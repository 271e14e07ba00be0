"""One class for all that fools: K + 1 outputs, and every fooling image taught as the last.

Nguyen, Yosinski and Clune, Deep Neural Networks are Easily Fooled, https://arxiv.org/abs/1412.1897, section 3.6: what
fooled the network joins the data as class n + 1, and so again with what fools the next one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from attacks.l1_sparse import l1_sparse
from bench.task import Recorder, Round, Task, defense
from defenses.rounds import labelled, rounds


@defense(l1_sparse=l1_sparse)
def fakeclass_single(task: Task, recorder: Recorder) -> Iterator[Round]:
    """The rounds of `fakeclass` with one fake class, whatever class an image was made for."""
    k = task.spec.real_classes
    yield from rounds(
        task,
        recorder,
        name="fakeclass_single",
        attacks={"l1_sparse": l1_sparse},
        outputs=k + 1,
        teach=labelled(lambda targets: torch.full_like(targets, k)),
    )
