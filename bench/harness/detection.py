"""Whether a network detects fakes, and what else is logged of a set of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.materials.split import Split
from bench.types import ThreatModel
from bench.verdict.measurement import Counts
from bench.verify import logits_of, target_probability


def detected(logits: Tensor, real_classes: int, threat: ThreatModel) -> Tensor:
    """Which images a network detects [N, K+F] -> [N] bool.

    With fake classes: no real class is predicted. Without: no real class reaches the p in force for it.
    """
    if logits.shape[1] > real_classes:
        return logits.argmax(dim=1) >= real_classes
    return below_p(logits, real_classes, threat)


def below_p(logits: Tensor, real_classes: int, threat: ThreatModel) -> Tensor:
    """Which images no real class claims with the p in force for it -> [N] bool."""
    probability = logits.softmax(dim=1)[:, :real_classes]
    return (probability < threat.p_of(torch.arange(real_classes))).all(dim=1)


def fake_probability(logits: Tensor, real_classes: int) -> Tensor:
    """The probability that an image is fake [N, K+F] -> [N]: of all fake classes, or 1 - the largest real one."""
    probability = logits.softmax(dim=1)
    fakes = probability[:, real_classes:]
    return fakes.sum(dim=1) if fakes.shape[1] else 1 - probability.amax(dim=1)


def detection_counts(
    network: nn.Module, images: Tensor, targets: Tensor, threat: ThreatModel, names: Sequence[str]
) -> tuple[Counts, dict[str, Counts]]:
    """Detection of fakes, in aggregate and per class of their targets.

    Args:
        network: the network that should detect them.
        images: [N, C, H, W] fooling images.
        targets: [N] the real classes they were made for.
        threat: with the operating point of `network`.
        names: the K real classes.
    """
    k = len(names)
    if not len(targets):
        empty = Counts(successes=0, n=0)
        return empty, dict.fromkeys(names, empty)
    logits = logits_of(network, images)
    fakes = logits.shape[1] - k
    fake = fake_probability(logits, k)
    # The right answer is the target's own fake class where there is one each, else the likeliest fake.
    answer = k + targets if fakes == k else k + logits[:, k:].argmax(dim=1) if fakes else None
    columns = {
        "no_real_class_predicted": (logits.argmax(dim=1) >= k).float(),
        "no_real_class_at_p": below_p(logits, k, threat).float(),
        "fake_probability": fake,
        # Without a fake class the loss is that of the answer "no real class": minus the log of 1 - max p.
        "loss": -fake.clamp_min(1e-12).log() if answer is None else cross_entropy(logits, answer, reduction="none"),
    }
    if fakes == k:
        columns["exact"] = (logits.argmax(dim=1) == answer).float()
    return by_class(detected(logits, k, threat), targets, names, columns)


def real_counts(
    network: nn.Module, real: Split, names: Sequence[str], nominal: float
) -> tuple[dict[str, Counts], dict[str, Counts]]:
    """Criteria 9 and 10 -> ({"accuracy", "confident_accuracy"}, accuracy per class)."""
    logits = logits_of(network, real.images)
    probability = target_probability(logits, real.labels)
    columns = {
        "probability": probability,
        "loss": cross_entropy(logits, real.labels, reduction="none"),
        "confident": (probability >= nominal).float(),
    }
    total, per_class = by_class(logits.argmax(dim=1) == real.labels, real.labels, names, columns)
    confident = Counts(successes=int((probability >= nominal).sum()), n=len(real), means=total.means)
    return {"accuracy": total, "confident_accuracy": confident}, per_class


def by_class(
    success: Tensor, classes: Tensor, names: Sequence[str], columns: dict[str, Tensor]
) -> tuple[Counts, dict[str, Counts]]:
    """Counts and means over all images and over those of each class."""

    def count(where: Tensor) -> Counts:
        n = int(where.sum())
        means = {name: float(values[where].double().mean()) for name, values in columns.items()} if n else {}
        return Counts(successes=int(success[where].sum()), n=n, means=means)

    everywhere = torch.ones(len(classes), dtype=torch.bool)
    return count(everywhere), {name: count(classes == label) for label, name in enumerate(names)}
