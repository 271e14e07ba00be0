"""Whether a network answers by the image and its weights alone, not by what it was asked before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from bench.verify import alone

CALLS = 8  # of an attack's, from its whole length
IMAGES = 32  # of a call
OTHERWISE = 0.02  # of a probability; more than the arithmetic of batches makes of steep gates


class Witness:
    """What a network was asked, and what it said, at every so many of an attack's calls."""

    def __init__(self, calls: int):
        self._every = max(1, calls // CALLS)
        self._calls = 0
        self.heard: list[tuple[Tensor, Tensor]] = []

    def hear(self, images: Tensor, logits: Tensor) -> None:
        """Called at each of the attack's calls, with [N, C, H, W] and [N, K + F]."""
        self._calls += 1
        if self._calls % self._every == 0:
            self.heard.append(tuple(each[:IMAGES].detach().float().cpu().clone() for each in (images, logits)))


def answered_otherwise(anew: Callable[[], nn.Module], heard: Iterable[tuple[Tensor, Tensor]]) -> str | None:
    """What a network that has not been asked anything says to an attack's questions, one image at a time.

    A network that remembers can turn away whoever comes nearer step by step, and let the last of these images in when
    it comes first: the stateful defenses of Chen et al., https://arxiv.org/abs/1907.05587. Certified is one answer to
    each image.

    Args:
        anew: makes the network once more, from its factory and weights; called for every entry of `heard`, since one
            call's images are of different targets, and not near one another as those of one target are.
        heard: images [N, C, H, W] and the logits [N, K + F] that the attack was told.

    Returns:
        A sentence where answers differ.

    Raises:
        NonFiniteError: logits that are not finite.
    """
    different = asked = 0
    for images, told in heard:
        answers = alone(anew(), images)
        different += int(((answers.softmax(dim=1) - told.softmax(dim=1)).abs().amax(dim=1) > OTHERWISE).sum())
        asked += len(images)
    if not different:
        return None
    return (
        f"A fresh copy of the network, asked about one image at a time, answers otherwise for {different} of {asked} "
        "images that attacks asked about on their way."
    )
