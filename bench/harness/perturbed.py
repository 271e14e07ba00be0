"""Real test images with fooling images added: from which strength on does the network follow what was added?

It informs beside the eleven criteria: those ask about images made from nothing, this about real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from bench.errors import NonFiniteError
from bench.harness.gallery import REACHED
from bench.harness.once import once
from bench.harness.recorder import pooled
from bench.record import Perturbed, PerturbedRow, Ratio
from bench.seeds import generator
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verdict.stats import ratio
from bench.verify import logits_of, target_probability

if TYPE_CHECKING:
    from bench.harness.session import Session

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5)
Series = Literal["control", "final"]
SAYS = {"control": "that fooled the undefended control", "final": "that fooled this model"}


@dataclass(frozen=True)
class Pairs:
    """Real images and the fooling images to add to them, each pair of two classes; the same at every strength.

    Args:
        real, fooling: [n, C, H, W] on the value grid.
        labels, targets: [n] their classes.
    """

    real: Tensor
    labels: Tensor
    fooling: Tensor
    targets: Tensor

    def added(self, strength: float, spec: ImageSpec) -> Tensor:
        """Real images with `strength` times the fooling ones added -> [n, C, H, W] on the value grid."""
        return spec.round(self.real + strength * self.fooling)


def perturbed(session: Session) -> Perturbed:
    """Measured once and stored; without rows where it came to NaN or there was nothing to add, with the reason."""
    return once(session.store, "perturbed.json", Perturbed, lambda: _measured(session))


def _measured(session: Session) -> Perturbed:
    session.say("adding fooling images to real ones")
    attack = session.gallery.reference
    try:
        rows = [
            row
            for series in ("control", "final")
            for row in _rows(session, series, draw_pairs(session, series, *_fooling(session, series, attack)))
        ]
    except NonFiniteError as error:
        return Perturbed(attack=attack, rows=(), reason=f"Not measured: {error}.")
    return Perturbed(attack=attack, rows=tuple(rows), reason=_sentence(rows, attack, session.settings.p))


def _fooling(session: Session, series: Series, attack: str) -> tuple[Tensor, Tensor]:
    """What is added, and its classes.

    On the control it is all that is confident and sparse: the same images for every defense. On the final network it
    is what fools it, by any attack.
    """
    if series == "control":
        found = session.gallery.images("control", attack)
        return pooled([found[found.is_(*REACHED)]], session.spec.shape)
    found = session.gallery.finite_images("final").values()
    return pooled([images[images.is_(Outcome.FOOLING)] for images in found], session.spec.shape)


def added_to_real(session: Session) -> Iterator[tuple[Tensor, Tensor]]:
    """For each strength, the real images with what fools the control added -> [n, C, H, W] and their classes [n].

    Raises:
        NonFiniteError: the final network's logits are not finite.
    """
    try:
        fooling = _fooling(session, "control", session.gallery.reference)
    except NonFiniteError:  # of the control: no fault of the final network
        return
    pairs = draw_pairs(session, "control", *fooling)
    for strength in STRENGTHS if len(pairs.labels) else ():
        yield pairs.added(strength, session.spec), pairs.labels


def draw_pairs(session: Session, series: Series, fooling: Tensor, targets: Tensor) -> Pairs:
    """The budget's number of pairs, each image in turn with a real test image that the final network gets right.

    Every pair has draws of its own, so that another network changes only pairs whose real image it gets wrong.

    Args:
        fooling, targets: [m, C, H, W], [m]; no pairs come of none.
    """
    real = session.data.test
    draw = generator(session.settings.seed, "perturbed", series)
    turns = torch.arange(session.settings.plan.images if len(targets) else 0) % max(1, len(targets))
    which = torch.randperm(len(targets), generator=draw)[turns]
    right = logits_of(session.final, real.images).argmax(dim=1) == real.labels
    rows, chosen = [], []
    for row, target in enumerate(targets[which].tolist()):
        lots = torch.rand(len(real), generator=draw)
        lots[~right | (real.labels == target)] = -1
        if lots.max() >= 0:
            rows.append(row)
            chosen.append(int(lots.argmax()))
    which = which[rows]
    return Pairs(real.images[chosen], real.labels[chosen], fooling[which], targets[which])


def _rows(session: Session, series: Series, pairs: Pairs) -> Iterator[PerturbedRow]:
    for strength in STRENGTHS if len(pairs.labels) else ():
        images = pairs.added(strength, session.spec)
        turned, kept = _seen(session.final, images, pairs, session.settings.p)
        control, control_kept = _seen(session.control, images, pairs, session.settings.p)
        yield PerturbedRow(
            strength=strength, series=series, turned=turned, kept=kept, control=control, control_kept=control_kept
        )


def _seen(network: nn.Module, images: Tensor, pairs: Pairs, p: float) -> tuple[Ratio, Ratio]:
    """How many a network gives the added image's class with p, and how many still their own class."""
    logits = logits_of(network, images)
    turned = target_probability(logits, pairs.targets) >= ThreatModel(p, 0).p_of(pairs.targets)
    kept = logits.argmax(dim=1) == pairs.labels
    return tuple(ratio(int(which.sum()), len(pairs.labels)) for which in (turned, kept))


def _sentence(rows: list[PerturbedRow], attack: str, p: float) -> str:
    """What the largest strength does, in each series."""
    if not rows:
        return (
            f"Not measured: {attack} reached nothing on the undefended control and nothing fooled this model, or it "
            "gets no real test image of another class right."
        )
    strongest = [row for row in rows if row.strength == STRENGTHS[-1]]
    return " ".join(
        f"With images {SAYS[row.series]} added to real test images at strength {row.strength:g}, this model gives "
        f"{row.turned.successes} of {row.turned.n} the added image's class with p {p:g} or more "
        f"and {row.kept.successes} still their own; the undefended control {row.control.successes} "
        f"and {row.control_kept.successes}."
        for row in strongest
    )
