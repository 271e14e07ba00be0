"""Whether attacks tried hard enough: the same ones run on, their success and their margins compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.harness.anew import Witness, answered_otherwise
from bench.harness.generate import Generated, balanced_targets, generate
from bench.health import Cause, Finding
from bench.seeds import derive
from bench.types import Attack, Budget, ImageSpec, Judge, Outcome, ThreatModel
from bench.verdict.stats import ratio
from bench.verify import Verified

TARGETS = 32
TENTHS = 10
MOST = 0.5  # the share of classes that must show a fault
RISEN = 1e-6  # of the margin: less is arithmetic


class Trace(nn.Module):
    """A network that remembers, pass by pass, the best margin of every real class among the images it saw.

    Which image is for which target only the attack knows; the best of a class among all of a batch is read
    off from outside.

    Args:
        network: the one that is attacked.
        classes: K.
        witness: told what was asked and answered.
    """

    def __init__(self, network: nn.Module, classes: int, witness: Witness):
        super().__init__()
        self.witness = witness
        self.network = network
        self.classes = classes
        self.best: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images.clone())  # the witness hears what was asked, whatever the network makes of it
        with torch.no_grad():
            self.best.append(best_margins(logits.detach(), self.classes))
            self.witness.hear(images, logits)
        return logits

    def curve(self) -> Tensor:
        """The running maximum -> [calls, K]."""
        return torch.stack(self.best).cpu().cummax(dim=0).values


def best_margins(logits: Tensor, classes: int) -> Tensor:
    """The largest z_t - logsumexp(z_other) of a batch, for each of the first `classes` classes -> [K]."""
    log_p = logits.float().log_softmax(dim=1)
    total = logits.float().logsumexp(dim=1, keepdim=True)
    others = torch.log(-torch.expm1(log_p.clamp_max(-1e-7))) + total  # logsumexp of all but one
    return (logits - others)[:, :classes].nan_to_num(-math.inf).amax(dim=0)


@dataclass(frozen=True)
class Tried:
    """One attack run on: once more as it was evaluated, from one start with twice the passes, and how it got there.

    Args:
        name: the attack.
        evaluated: what the evaluation came to.
        again: one more start with the share of passes that every start had.
        longer: one start with twice that share.
        curve, longer_curve: [calls, K] best margins so far, of the two.
        black_box: it takes no backward pass.
    """

    name: str
    evaluated: Verified
    again: Generated
    longer: Generated
    curve: Tensor
    longer_curve: Tensor
    black_box: bool


def check_attacks(
    network: nn.Module,
    attacks: Mapping[str, Attack],
    spec: ImageSpec,
    *,
    threat: ThreatModel,
    budget: Budget,
    judge: Judge,
    seed: int,
    evaluated: Mapping[str, Verified] | None = None,
    anew: Callable[[], nn.Module] | None = None,
) -> list[Finding]:
    """What running the attacks on shows; arguments, cost and errors as `bench.harness.checks.check_evaluation`."""
    targets = balanced_targets(spec.real_classes, TARGETS)[:TARGETS]
    share = budget.share()
    witnesses: list[Witness] = []

    def traced(passes: int) -> Trace:
        witnesses.append(Witness(passes))
        return Trace(network, spec.real_classes, witnesses[-1])

    def run(attack: Attack, model: nn.Module, spend: Budget, *what: object) -> Generated:
        own = derive(seed, "effort", *what)
        return generate(attack, model, spec, targets, threat=threat, budget=spend, judge=judge, seed=own)

    tried = []
    for name, attack in attacks.items():
        before = (evaluated or {}).get(name)
        if before is None:
            before = run(attack, traced(budget.passes), budget, name, "evaluated").verified
        twice = Budget(2 * share.passes, 1)
        short, long = (traced(spend.passes) for spend in (share, twice))
        again = run(attack, short, share, name, "again")
        longer = run(attack, long, twice, name, "longer")
        tried.append(Tried(name, before, again, longer, short.curve(), long.curve(), again.backward_passes == 0))
    found = [finding for each in tried for finding in _of_one(each, spec, threat)]
    found += _black_box_ahead(tried)
    if anew and (sentence := answered_otherwise(anew, (each for witness in witnesses for each in witness.heard))):
        found.append(Finding(cause=Cause.NOT_A_FUNCTION, sentence=sentence))
    return found


def _of_one(tried: Tried, spec: ImageSpec, threat: ThreatModel) -> Iterator[Finding]:
    before, classes = _fooled(tried.evaluated), torch.arange(spec.real_classes)
    asked = threat.p_of(classes).clamp(1e-6, 1 - 1e-6).logit()
    asked[~torch.isin(classes, tried.again.verified.targets)] = -math.inf  # nothing is missed where nothing is asked
    if not tried.black_box and _stuck(tried.curve, asked):
        sentence = f"{tried.name} ends with the margins that it starts with: its loss does not fall."
        yield Finding(cause=Cause.LOSS_STUCK, sentence=sentence)
    # A black box creeps by nature, and a rise that ends in twice the passes has shown what it leads to.
    if _fooled_late(tried, asked) or (not tried.black_box and _still_rising(tried.longer_curve, asked)):
        sentence = f"{tried.name} was still getting better in the last tenth of its passes."
        yield Finding(cause=Cause.STILL_RISING, sentence=sentence)
    if met := tried.again.non_finite + tried.longer.non_finite:
        sentence = f"{tried.name}, run on, met {met} images whose logits are NaN or infinite."
        yield Finding(cause=Cause.NOT_FINITE, sentence=sentence)
    for cause, run, what in (
        (Cause.GROWS_WITH_RESTARTS, tried.again, "one more start"),
        (Cause.GROWS_WITH_BUDGET, tried.longer, "twice the passes"),
    ):
        after = _fooled(run.verified)
        if _grew(before, after):
            sentence = (
                f"{tried.name} fooled {before[0]} of {before[1]} targets, and {after[0]} of {after[1]} with {what}."
            )
            yield Finding(cause=cause, sentence=sentence)


def _fooled(found: Verified) -> tuple[int, int]:
    return int(found.is_(Outcome.FOOLING).sum()), len(found.targets)


def _grew(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Any success where there was none; else one that chance does not explain."""
    if before[0] == 0:
        return after[0] > 0
    return ratio(*after).lower > ratio(*before).upper


def _stuck(curve: Tensor, asked: Tensor) -> bool:
    """Of the classes that were not reached, most have the margin of the first pass."""
    open_ = curve[-1] < asked
    risen = curve[-1] - curve[0] > RISEN * curve[0].abs().clamp_min(1)
    return bool(open_.any()) and float((~risen[open_]).float().mean()) >= MOST


def _still_rising(curve: Tensor, asked: Tensor) -> bool:
    """Most classes that were not reached rise through the last three tenths, fast enough to get there in twice as long.

    Random starts set a new record in a last tenth now and then; only a climb lasts through three of them and
    does not slow down.
    """
    if len(curve) < 2 * TENTHS:
        return False
    gains = curve[(torch.arange(TENTHS + 1) * (len(curve) - 1)) // TENTHS].diff(dim=0)[-3:]
    climbs = (gains > RISEN * curve[-1].abs().clamp_min(1)).all(dim=0) & (gains[-1] >= gains[0] / 2)
    open_ = curve[-1] < asked
    return (
        bool(open_.any()) and float((climbs & (TENTHS * gains[-1] >= asked - curve[-1]))[open_].float().mean()) >= MOST
    )


def _fooled_late(tried: Tried, asked: Tensor) -> bool:
    """Targets are fooled, but of most of their classes none before the last tenth."""
    fooled = tried.again.verified.targets[tried.again.verified.is_(Outcome.FOOLING)].unique()
    if not len(fooled) or len(tried.curve) < TENTHS:
        return False
    early = tried.curve[len(tried.curve) * (TENTHS - 1) // TENTHS - 1, fooled] >= asked[fooled]
    return float((~early).float().mean()) >= MOST


def _black_box_ahead(tried: list[Tried]) -> Iterator[Finding]:
    """An attack that takes no gradients fools more than any that does, beyond chance."""
    black, white = ([_fooled(t.evaluated) for t in tried if t.black_box == kind] for kind in (True, False))
    if black and white and all(n for _, n in black + white):
        ahead, behind = max(black, key=lambda rate: rate[0] / rate[1]), max(white, key=lambda rate: rate[0] / rate[1])
        if ratio(*ahead).lower > ratio(*behind).upper:
            sentence = (
                f"A black box fools {ahead[0]} of {ahead[1]} targets, the best attack with gradients "
                f"{behind[0]} of {behind[1]}."
            )
            yield Finding(cause=Cause.BLACK_BOX_AHEAD, sentence=sentence)
