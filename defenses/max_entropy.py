"""No fake class: K outputs, and on every fooling image the network learns to be sure of nothing.

The confidence loss of Lee et al., Training Confidence-calibrated Classifiers, https://arxiv.org/abs/1711.09325, which
draws softmax to the uniform distribution on generated images; theirs come from a GAN, these from attacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from attacks.l1_sparse import l1_sparse
from bench.task import Recorder, Round, Task, defense
from defenses.rounds import no_class, rounds


@defense(l1_sparse=l1_sparse)
def max_entropy(task: Task, recorder: Recorder) -> Iterator[Round]:
    """The rounds of `fakeclass`, with the uniform distribution as what generated images are taught."""
    yield from rounds(
        task,
        recorder,
        name="max_entropy",
        attacks={"l1_sparse": l1_sparse},
        outputs=task.spec.real_classes,
        teach=no_class,
    )
