"""The eleven measurements: one function a criterion, one table. Verdicts are made elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.consistency import REQUIRED_ATTACKS
from bench.errors import NonFiniteError
from bench.harness.beside import counted
from bench.harness.detection import by_class, detection_counts, real_counts
from bench.harness.gallery import REACHED, REFERENCE_PROCESS
from bench.harness.generate import balanced_targets
from bench.harness.known import elsewhere, firsts, unseen
from bench.harness.recorder import pooled
from bench.harness.registry import ATTACKS
from bench.harness.select import fooling_half
from bench.health import Cause, Finding
from bench.materials.controls import by_budget, measure_controls
from bench.seeds import generator
from bench.types import Outcome
from bench.verdict.criteria import CRITERIA
from bench.verdict.measurement import AttackCounts, Counts, Measurement
from bench.verdict.stats import CONFIDENCE, ratio
from bench.verify import Verified, logits_of

if TYPE_CHECKING:
    from bench.harness.session import Session

HEALTHY = 0.95  # of the control's targets, by the lower bound
NO_HISTORY = "There is no training history to measure: {subject} has no rounds."


def measure(session: Session, criterion: int) -> Measurement:
    """Measure one criterion; figures that are not finite make it inconclusive, never an accident."""
    try:
        return MEASURES[criterion](session)
    except NonFiniteError as error:
        finding = Finding(cause=Cause.NOT_FINITE, sentence=f"{CRITERIA[criterion].name} was not measured: {error}.")
        return Measurement(id=criterion, total=Counts(successes=0, n=0), findings=(finding,))


def prepare(session: Session, criterion: int) -> None:
    """Have the images made that a criterion looks at: every process that asks for it makes some of them.

    What makes no images, or comes to NaN, is left to `measure`.
    """
    attacks = session.settings.attacks
    with suppress(NonFiniteError):
        if criterion in (0, 1):
            session.gallery.share(("control", name) for name in attacks)
        elif criterion in (7, 8):
            others = [name for name in attacks if name not in session.processes]
            session.gallery.share((place, name) for name in others for place in elsewhere(session))
            if criterion == 8:
                session.gallery.cascade()
                for place in ("control", "final"):
                    session.gallery.share_sweep(place, REFERENCE_PROCESS)


def sparse(session: Session) -> Measurement:
    """0: the attack reaches its targets on the undefended control."""
    parts = {}
    for name in session.settings.attacks:
        found = session.gallery.images("control", name)
        total, per_class = _counted(session, found, found.is_(*REACHED))
        healthy = ratio(total.successes, total.n).lower >= HEALTHY
        parts[name] = AttackCounts(total=total, per_class=per_class, healthy=healthy, required=name in REQUIRED_ATTACKS)
    findings = tuple(
        _not_finite({name: session.gallery.made("control", name).non_finite for name in session.settings.attacks})
    )
    return Measurement(id=0, per_attack=parts, per_class=_summed(parts.values()), findings=findings)


def ood(session: Session) -> Measurement:
    """1: what the attack yields is OOD, and the judge is sound."""
    parts = {}
    for name in session.settings.attacks:
        if ATTACKS.started.get(name) == "real":
            parts[name] = _not_applicable(f"{name} starts from real images; criterion 8 counts what is none any more.")
            continue
        found = session.gallery.images("control", name)
        found = found[found.is_(*REACHED)]
        total, per_class = _counted(session, found, found.is_(Outcome.FOOLING))
        parts[name] = AttackCounts(total=total, per_class=per_class, required=name in REQUIRED_ATTACKS)
    controls = measure_controls(
        session.lab.measuring_judge,
        session.data.test,
        session.spec,
        generator(session.settings.seed, "controls"),
        by_budget({k: made.images[made.is_(*REACHED)] for k, made in _sweep(session).items()}),
    )
    broken = [control for control in controls if control.required and control.holds is False]
    findings = tuple(
        Finding(cause=Cause.JUDGE_UNSOUND, sentence=f"The judge fails its control {control.name!r}: {control.reason}.")
        for control in broken
    )
    return Measurement(
        id=1,
        per_attack=parts,
        per_class=_summed(parts.values()),
        findings=findings,
        judge_controls=tuple(controls),
        figures={"judge_controls_failed": len(broken)},
    )


def _sweep(session: Session) -> dict[int, Verified]:
    """What fools the control with few pixels, by an attack of the selection."""
    return session.gallery.sweep("control", session.gallery.reference)


def just_trained(session: Session) -> Measurement:
    """2: the newest training images, pooled back from the selected round until they are enough."""
    rounds = [past.images for past in session.rounds_with_images()]
    return _detection(session, 2, _newest([images.fooling_taught for images in rounds], session.thresholds.rates[2]))


def no_forgetting(session: Session) -> Measurement:
    """3: every earlier round's training images."""
    rounds = [past.images for past in session.rounds_with_images()][:-1]
    sample = session.settings.replay_sample
    return _detection(session, 3, [images.fooling_taught for images in rounds], sample)


def heldout_newest(session: Session) -> Measurement:
    """4: the harness's own images for the newest round, pooled back as in 2."""
    return _detection(session, 4, _newest(_heldout(session), session.thresholds.rates[4]))


def heldout_past(session: Session) -> Measurement:
    """5: the harness's own images for every earlier round."""
    return _detection(session, 5, _heldout(session)[:-1])


def other_network(session: Session) -> Measurement:
    """6: images of the training process made on network B."""
    process = session.processes
    parts = {}
    for name in dict.fromkeys([*session.settings.attacks, *process]):
        if name in process:
            parts[name] = _detected_part(session, [session.gallery.verdict_part("network-b", name)])
        else:
            reason = f"Training did not use {name}; criterion 7 measures it."
            parts[name] = _not_applicable(reason)
    return Measurement(id=6, per_attack=parts, per_class=_summed(parts.values()))


def other_process(session: Session) -> Measurement:
    """7: images of every attack that training did not use, made on B and on past networks.

    An attack that draws nothing at random makes one image a class and network, however many it is asked for. Where all
    that there are of it are detected, it need not prove a rate by so few.
    """
    healthy, enough = session.healthy(), _enough(session.thresholds.rates[7])
    parts = {}
    for name in session.settings.attacks:
        if name in session.processes:
            parts[name] = _not_applicable(f"Training used {name}; criterion 6 measures it.")
            continue
        found = [session.gallery.verdict_part(place, name) for place in elsewhere(session)]
        part = _detected_part(session, found)
        required, n = name in REQUIRED_ATTACKS or bool(healthy[name]), part.total.n
        all_there_are = name not in REQUIRED_ATTACKS and n < enough <= sum(len(each.targets) for each in found)
        if all_there_are and part.total.successes == n:
            reason = f"{name} makes {n} different images and no more, and all are detected: too few to prove a rate by."
            part = part.model_copy(update={"not_applicable": reason})
        parts[name] = part.model_copy(update={"healthy": healthy[name], "required": required})
    figures = {"past_networks": len(session.rounds_before_selected())}
    return Measurement(id=7, per_attack=parts, per_class=_summed(parts.values()), figures=figures)


def final_network(session: Session) -> Measurement:
    """8: the worst case over attacks, target by target, on the final network.

    The attacks run as a cascade: a target that one has fooled is not asked of the next, dearer one. What they made on
    other networks is shown to this one, and what they made here for every class.
    """
    healthy = session.healthy()
    parts: dict[str, AttackCounts] = {}
    targets = balanced_targets(session.spec.real_classes, session.settings.plan.images)
    worst = {name: torch.zeros(len(targets), dtype=torch.bool) for name in ("fooled", "borderline", "reached")}
    probability = torch.zeros(len(targets))
    alike = []
    for name, made in session.gallery.cascade().items():
        found = counted(session, name, made)
        alike.append(_named_alike(session, found))
        fooling = found.is_(Outcome.FOOLING)
        worst["fooled"][made.targets] |= fooling
        worst["borderline"][made.targets] |= found.is_(Outcome.FOOLING, Outcome.BORDERLINE)
        worst["reached"][made.targets] |= found.is_(*REACHED)
        probability[made.targets] = torch.maximum(probability[made.targets], found.probability)
        total, per_class = _counted(session, found, fooling)
        nothing = None if len(made.targets) else "No target still stood: cheaper attacks had fooled them all."
        parts[name] = AttackCounts(
            total=total.model_copy(update={"means": total.means | _agreement(alike[-1])}),
            per_class=per_class,
            healthy=healthy[name],
            required=name in REQUIRED_ATTACKS,
            not_applicable=nothing,
        )
    columns = {
        "probability": probability,
        "reached": worst["reached"].float(),
        "borderline_or_fooling": worst["borderline"].float(),
    }
    total, per_class = by_class(worst["fooled"], targets, session.spec.class_names, columns)
    return Measurement(
        id=8,
        total=total,
        per_class=per_class,
        per_attack=parts,
        findings=tuple(_ensemble_findings(session, healthy, total.n)),
        figures=total.means
        | _agreement(torch.cat(alike))
        | _known(session)
        | _operating(session)
        | _real_classes_alone(session),
    )


def _named_alike(session: Session, found: Verified) -> Tensor:
    """Of the images that the judge takes for real [N], which network B gives to their target -> [N] bool."""
    real = found.is_(Outcome.IN_DISTRIBUTION)
    if not real.any():  # network B is trained when it is first asked for
        return real[:0]
    return logits_of(session.network_b, found.images[real]).argmax(dim=1) == found.targets[real]


def _agreement(alike: Tensor) -> dict[str, float]:
    """For information: what another network takes for another class fools, too, if not as this bench means it."""
    return {"b_agrees_in_distribution": float(alike.double().mean())} if len(alike) else {}


def _known(session: Session) -> dict[str, float]:
    """For information: how much of what was made on other networks, or for other classes, fools this one."""
    counts = [session.known.of(name).counts() for name in session.settings.attacks]
    return {f"known_{name}": sum(each[name] for each in counts) for name in map(str, REACHED)}


def _real_classes_alone(session: Session) -> dict[str, float]:
    """For information: how often the reference attack reaches p over the real classes alone, fakes cut off."""
    if not session.final_fakes:
        return {}
    found = session.gallery.images("final-real", REFERENCE_PROCESS)
    return {
        "real_classes_alone_reached": float(found.is_(*REACHED).double().mean()),
        "real_classes_alone_fooling": float(found.is_(Outcome.FOOLING).double().mean()),
    }


def real_train(session: Session) -> Measurement:
    """9: the final network on the real training images of half A."""
    return _real(session, 9, session.data.a_train)


def real_test(session: Session) -> Measurement:
    """10: the final network on real test images."""
    return _real(session, 10, session.data.test)


MEASURES: tuple[Callable[[Session], Measurement], ...] = (
    sparse,
    ood,
    just_trained,
    no_forgetting,
    heldout_newest,
    heldout_past,
    other_network,
    other_process,
    final_network,
    real_train,
    real_test,
)


def _real(session: Session, criterion: int, real) -> Measurement:
    measures, per_class = real_counts(session.final, real, session.spec.class_names, session.settings.p)
    figures = {name: counts.successes / counts.n for name, counts in measures.items()}
    return Measurement(
        id=criterion, measures=measures, per_class=per_class, figures=figures | measures["accuracy"].means
    )


def _detection(session: Session, criterion: int, parts: list[Verified], sample: int | None = None) -> Measurement:
    if not session.has_history:
        reason = NO_HISTORY.format(subject=session.settings.subject)
        return Measurement(id=criterion, not_applicable=reason)
    images, targets = _distinct(session, parts)
    if sample is not None and len(targets) > sample:
        draw = generator(session.settings.seed, "replay sample", "final")
        index = torch.randperm(len(targets), generator=draw)[:sample]
        images, targets = images[index], targets[index]
    total, per_class = detection_counts(session.final, images, targets, session.final_threat, session.spec.class_names)
    figures = {"rounds": len(parts), "nothing_found": sum(not len(part.targets) for part in parts)} | total.means
    return Measurement(id=criterion, total=total, per_class=per_class, figures=figures)


def _heldout(session: Session) -> list[Verified]:
    """Of each round up to the selected one, the half of its held-out images that gives verdicts.

    What training saw is not held out: an attack that draws no randomness makes the same images for both.
    """
    classes = session.spec.real_classes
    rounds = session.rounds_with_images()
    taught = torch.cat([torch.zeros(0, *session.spec.shape), *(past.images.made.images for past in rounds)])
    halves = [fooling_half(past.images.heldout, classes, selecting=False) for past in rounds]
    return [half[unseen(half.images, taught)] for half in halves]


def _distinct(session: Session, parts: list[Verified]) -> tuple[Tensor, Tensor]:
    """Images and targets of several sets, joined, each once: a copy is no further trial -> [N, C, H, W], [N]."""
    images, targets = pooled(parts, session.spec.shape)
    index = firsts(images, targets)
    return images[index], targets[index]


def _detected_part(session: Session, parts: list[Verified]) -> AttackCounts:
    images, targets = _distinct(session, parts)
    total, per_class = detection_counts(session.final, images, targets, session.final_threat, session.spec.class_names)
    return AttackCounts(total=total, per_class=per_class)


def _not_applicable(reason: str) -> AttackCounts:
    return AttackCounts(total=Counts(successes=0, n=0), per_class={}, not_applicable=reason, required=False)


def _newest(parts: list[Verified], threshold: float) -> list[Verified]:
    """The last sets, back to where they hold enough images to prove the threshold at all."""
    enough = _enough(threshold)
    taken: list[Verified] = []
    for part in reversed(parts):
        taken.insert(0, part)
        if sum(len(each.targets) for each in taken) >= enough:
            break
    return taken


def _enough(threshold: float) -> float:
    """How many images, all detected, prove a threshold."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(threshold)) if threshold < 1 else math.inf


def _counted(session: Session, found: Verified, success: Tensor) -> tuple[Counts, dict[str, Counts]]:
    columns = {"probability": found.probability, "pixels": found.pixels.float(), "judge_score": found.score}
    total, per_class = by_class(success, found.targets, session.spec.class_names, columns)
    return total.model_copy(update={"outcomes": found.counts()}), per_class


def _summed(parts: Iterable[AttackCounts]) -> dict[str, Counts]:
    """Per class over the attacks that decide the criterion: counts added, means weighted by them."""
    sums: dict[str, Counts] = {}
    for part in parts:
        if not part.required:  # a weak attack of one's own loses its row, and no class by it
            continue
        for label, counts in part.per_class.items():
            old = sums.get(label, Counts(successes=0, n=0))
            n = old.n + counts.n
            means = {
                name: (old.means.get(name, 0.0) * old.n + value * counts.n) / n for name, value in counts.means.items()
            }
            sums[label] = Counts(successes=old.successes + counts.successes, n=n, means=means or old.means)
    return sums


def _ensemble_findings(session: Session, healthy: dict[str, bool], n: int) -> Iterable[Finding]:
    """What keeps "nothing was found" from being evidence that there is nothing."""
    for name in REQUIRED_ATTACKS:
        if name not in healthy:
            yield Finding(cause=Cause.ATTACK_MISSING, sentence=f"The selection lacks the required attack {name}.")
        elif not healthy[name]:
            sentence = f"{name} does not reach 95% of its targets on the undefended control at this budget."
            yield Finding(cause=Cause.ATTACK_UNHEALTHY, sentence=sentence)
    yield from session.measurement(1).findings
    yield from _not_finite(session.gallery.non_finite)
    for what, reason in session.known.broken.items():
        sentence = f"{what} could not be shown to the final network: {reason}."
        yield Finding(cause=Cause.NOT_FINITE, sentence=sentence)
    yield from session.checks()
    if not session.settings.plan.certifies:
        sentence = f"Budget {session.settings.budget} measures {n} targets, too few to certify."
        yield Finding(cause=Cause.BUDGET_TOO_SMALL, sentence=sentence)
    if min(session.final_threat.p) == 0:
        yield Finding(cause=Cause.NEVER_CONFIDENT, sentence="The network gets no real validation image right.")


def _not_finite(met: Mapping[str, int]) -> Iterable[Finding]:
    for name, number in met.items():
        if number:
            sentence = f"{name} met {number} images whose logits are NaN or infinite and can't see past them."
            yield Finding(cause=Cause.NOT_FINITE, sentence=sentence)


def _operating(session: Session) -> dict[str, float]:
    points = session.final_threat.p
    return {"operating_point_least": min(points), "operating_point_most": max(points)}
