"""Run an attack the way every figure is made: metered, restarted where the judge was not convinced, verified."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.errors import BadInputError
from bench.materials.split import Split
from bench.meter import Meter
from bench.seeds import generator
from bench.types import Attack, Budget, ImageSpec, Judge, Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified, logits_of, target_probability, verify

RANK = {
    Outcome.FOOLING: 5,
    Outcome.BORDERLINE: 4,
    Outcome.IN_DISTRIBUTION: 3,
    Outcome.UNCONFIDENT: 2,
    Outcome.DENSE: 1,
    Outcome.NEITHER: 0,
}
WORTH = 10  # a further start is worth a tenth of a share of passes, or more
MOST = 0.95  # the operating point: the probability that this share of right real images reaches


@dataclass(frozen=True)
class Generated:
    """An attack's verified images and what they cost.

    Args:
        verified: the best image for each target.
        forward_passes, backward_passes: image passes.
        non_finite: images whose logits were NaN or infinite while the attack looked.
    """

    verified: Verified
    forward_passes: int
    backward_passes: int
    non_finite: int


def generate(
    attack: Attack,
    network: nn.Module,
    spec: ImageSpec,
    targets: Tensor,
    *,
    threat: ThreatModel,
    budget: Budget,
    judge: Judge,
    seed: int,
    starts: Tensor | None = None,
    most_starts: int | None = None,
) -> Generated:
    """Attack `network` for every target; those that do not fool it yet are started again.

    An attack stops where it reaches the target, and cannot know that the judge takes what it made for real. The
    passes that this saves buy further starts on the targets that still stand: a target that some digit reaches at
    once is looked at many times, not twice.

    Args:
        targets: [N] real classes.
        budget: passes per image over all restarts; each start gets its share. In all, N times as many are spent
            at most.
        judge: decides between restarts which targets still stand.
        seed: of this generation alone.
        starts: [most_starts, N, C, H, W], what each start begins with; by default the attack's own.
        most_starts: further starts included; by default the budget's, and none further.

    Raises:
        BadInputError: the attack gave no images, or changed the network's weights; they are as they were again.
        BudgetExceededError: the attack took more passes than its share.
        NonFiniteError: the network or the attack produced NaN.
    """
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    best = nothing(spec)
    standing = torch.arange(len(targets))
    forward = backward = broken = 0
    usual = budget.share().passes
    everything = usual * budget.restarts * len(targets)
    for restart in range(most_starts or budget.restarts):
        if not len(standing):
            break
        share = Budget(min(usual, (everything - forward - backward) // len(standing)))
        if share.passes * WORTH < usual:
            break
        meter = Meter(network, spec, allowance=share.passes * len(standing))
        images = attack(
            meter,
            targets[standing].to(meter.device),
            threat=threat,
            budget=share,
            generator=generator(seed, "restart", restart),
            start=None if starts is None else starts[restart, standing].to(meter.device),
        )
        if not isinstance(images, Tensor) or images.shape != (len(standing), *spec.shape):
            got = f"{tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise BadInputError(
                f"attack {_name(attack)}: it gave {got}; expected images {(len(standing), *spec.shape)}"
            )
        _check_unchanged(network, before, attack)
        forward += meter.forward_passes
        backward += meter.backward_passes
        broken += meter.non_finite
        found = verify(network, spec, images, targets[standing], threat, judge)
        best = better(best, found, standing) if restart else found
        standing = torch.nonzero(~best.is_(Outcome.FOOLING)).flatten()
    return Generated(best, forward, backward, broken)


def _check_unchanged(network: nn.Module, before: dict[str, Tensor], attack: Attack) -> None:
    after = network.state_dict()
    if any(not torch.equal(after[name], weight) for name, weight in before.items()):
        network.load_state_dict(before)
        raise BadInputError(
            f"attack {_name(attack)}: it changed the weights it attacks; expected them left alone, it may train a copy"
        )


def _name(attack: Attack) -> str:
    return getattr(attack, "__name__", repr(attack))


def nothing(spec: ImageSpec) -> Verified:
    """No images at all, verified."""
    none, whole = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    return Verified(torch.zeros(0, *spec.shape), whole, none, whole, none.double(), whole)


def better(best: Verified, found: Verified, rows: Tensor) -> Verified:
    """Replace images [N] where those found for `rows` [n], none twice, have the higher outcome, or are likelier."""
    rank = torch.tensor([RANK[o] for o in OUTCOMES])
    old = best[rows]
    wins = rank[found.outcome] > rank[old.outcome]
    wins |= (rank[found.outcome] == rank[old.outcome]) & (found.probability > old.probability)
    merged = {}
    for name, value in vars(best).items():
        value = value.clone()
        value[rows[wins]] = getattr(found, name)[wins]
        merged[name] = value
    return Verified(**merged)


def balanced_targets(classes: int, n: int) -> Tensor:
    """At least `n` targets, every class equally often: [0, 1, ..., K-1, 0, 1, ...]."""
    return torch.arange(classes).repeat(-(-n // classes))


def operating_point(network: nn.Module, real: Split, classes: int, nominal: float) -> tuple[float, ...]:
    """The probability that counts as confident, for each class.

    The true-class probability that 95% of the rightly classified real images reach, the lower of overall and of
    the class, never more than `nominal`; 0 where no real image is right, since such a network is never sure.
    """
    logits = logits_of(network, real.images)
    probability = target_probability(logits, real.labels)
    right = logits.argmax(dim=1) == real.labels
    overall = _reached_by_most(probability[right])
    points = []
    for label in range(classes):
        own = probability[right & (real.labels == label)]
        points.append(min(nominal, overall, _reached_by_most(own) if len(own) else overall))
    return tuple(points)


def _reached_by_most(probability: Tensor) -> float:
    """The largest value that at least 95% of the given ones reach."""
    if not len(probability):
        return 0.0
    ordered = probability.sort(descending=True).values
    return float(ordered[math.ceil(MOST * len(ordered)) - 1])
