"""Model selection: the round that is certified is chosen on one half of every set, verdicts come from the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.harness.detection import detected
from bench.types import Outcome, ThreatModel
from bench.verify import Verified, logits_of


def selecting_half(n: int, classes: int) -> Tensor:
    """Which of `n` balanced targets select -> [n] bool; whole runs through the classes alternate."""
    return (torch.arange(n) // classes) % 2 == 0


def fooling_half(found: Verified, classes: int, *, selecting: bool) -> Verified:
    """The fooling images of the half that selects, or of the half that gives verdicts."""
    half = selecting_half(len(found.targets), classes) == selecting
    return found[half & found.is_(Outcome.FOOLING)]


def detection_rates(
    network: nn.Module, sets: Mapping[str, Verified], classes: int, threat: ThreatModel
) -> dict[str, float]:
    """Share of each set that the network detects; empty sets drop out."""
    rates = {}
    for name, found in sets.items():
        if len(found.targets):
            rates[name] = float(detected(logits_of(network, found.images), classes, threat).double().mean())
    return rates


def harmonic_score(real: float, adversarial: Sequence[float]) -> float:
    """H of `2/H = 1/A_real + (1/n) * sum(1/A_adv_i)`; 0 when any rate is 0, A_real where there is no set.

    Args:
        real: validation accuracy.
        adversarial: detection of each adversarial set.
    """
    if real == 0 or 0 in adversarial:
        return 0.0
    if not adversarial:
        return real
    return 2 / (1 / real + math.fsum(1 / rate for rate in adversarial) / len(adversarial))


def best_round(scores: Sequence[float], accuracies: Sequence[float], n: int) -> int:
    """The latest round, which has seen most, of those that chance can't tell from the best.

    Chance is one standard error of the best round's score (Breiman et al., Classification and Regression Trees, 1984,
    section 3.4.3), as far as it comes from the accuracy.

    Args:
        scores: from `harmonic_score`, all on the same sets.
        accuracies: the validation accuracy of each round.
        n: real images that they were taken on.
    """
    best = max(range(len(scores)), key=lambda index: scores[index])
    score, accuracy = scores[best], accuracies[best]
    if score == 0:
        return len(scores) - 1
    error = score**2 / (2 * accuracy**2) * math.sqrt(accuracy * (1 - accuracy) / n)
    return max(index for index, other in enumerate(scores) if other >= score - error)
