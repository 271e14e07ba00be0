"""What marks come to: how far people agree with the judge, and with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import NamedTuple

from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from bench.record import HumanFigures, Share
from reports.inspect_files import KeyItem, Mark


class Opinion(NamedTuple):
    """What is made of one image: whether it could be real, and whether its class was named rightly."""

    real: bool
    named: bool


def opinions(marks: Iterable[Mark], items: Mapping[str, KeyItem]) -> dict[str, Opinion]:
    """One person's, by image."""
    return {mark.item: Opinion(mark.real, mark.label == items[mark.item].label) for mark in marks}


def majority(people: Sequence[Mapping[str, Opinion]]) -> tuple[dict[str, Opinion], int]:
    """What more than half of those who marked an image say of it -> (by image, images without a majority)."""
    found, ties = {}, 0
    for item in sorted({item for person in people for item in person}):
        said = [person[item] for person in people if item in person]
        real = sum(opinion.real for opinion in said)
        if 2 * real == len(said):
            ties += 1
        else:
            found[item] = Opinion(2 * real > len(said), 2 * sum(opinion.named for opinion in said) > len(said))
    return found, ties


def figures(said: Mapping[str, Opinion], items: Mapping[str, KeyItem]) -> HumanFigures:
    """Every share is over images, each once: marks of one image by several people are not independent."""
    pairs = [(opinion, items[item]) for item, opinion in said.items()]
    real = [(opinion, item) for opinion, item in pairs if item.kind == "real"]
    generated = [(opinion, item) for opinion, item in pairs if item.kind == "generated"]
    return HumanFigures(
        images=len(pairs),
        agreement_working=share(opinion.real != item.rejected_working for opinion, item in pairs),
        agreement_strict=share(opinion.real != item.rejected_strict for opinion, item in pairs),
        auroc=_auroc(pairs),
        missed=share(not item.rejected_strict for opinion, item in generated if not opinion.real),
        overruled=share(opinion.real for opinion, item in generated if item.rejected_strict),
        false_alarms=share(not opinion.real for opinion, _ in real),
        control_taken=share(opinion.real for opinion, item in pairs if item.place == "control"),
        final_taken=share(opinion.real for opinion, item in pairs if item.place == "final"),
        named=share(opinion.named for opinion, _ in real),
    )


def share(hits: Iterable[bool]) -> Share:
    """A rate with its two-sided 95% interval; an empty sample bounds nothing: [0, 1].

    Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).
    """
    hits = list(hits)
    successes, n = sum(hits), len(hits)
    if not n:
        return Share(successes=0, n=0, observed=None, lower=0, upper=1)
    interval = binomtest(successes, n).proportion_ci(0.95, "exact")
    return Share(successes=successes, n=n, observed=successes / n, lower=interval.low, upper=interval.high)


def kappa(people: Sequence[Mapping[str, Opinion]]) -> float | None:
    """Cohen's kappa of 'could be real', mean over pairs of people on the images that both marked.

    None where no pair has one: it needs two people, and more than one answer between them.

    Cohen, "A coefficient of agreement for nominal scales", Educ. Psychol. Meas. 20 (1960).
    """
    found = []
    for one, other in combinations(people, 2):
        both = [(one[item].real, other[item].real) for item in one if item in other]
        if len({answer for pair in both for answer in pair}) == 2:
            found.append(float(cohen_kappa_score(*zip(*both, strict=True))))
    return mean(found) if found else None


def _auroc(pairs: Sequence[tuple[Opinion, KeyItem]]) -> float | None:
    """How well the judge's score ranks what people call not real above what they take for real."""
    not_real = [not opinion.real for opinion, _ in pairs]
    if len(set(not_real)) < 2:
        return None
    return float(roc_auc_score(not_real, [item.score for _, item in pairs]))
