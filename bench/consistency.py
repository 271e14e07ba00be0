"""What a certificate can't say at once: each contradiction in a sentence, its field first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.budgets import BUDGETS
from bench.thresholds import load_thresholds

if TYPE_CHECKING:
    from bench.record import Certificate, CriterionRecord, EvolutionStep, TransferMatrix

NAMES = (
    "sparse",
    "ood",
    "just trained",
    "no forgetting",
    "held out, newest",
    "held out, past",
    "other network",
    "other process",
    "final network",
    "real train",
    "real test",
)
HISTORY = frozenset({2, 3, 4, 5})  # criteria about the training's history; scope `model` does without
CONFIDENCE = 0.95  # of the one-sided bounds
ROUNDING = 1e-9
EVERY_ATTACK = frozenset({6, 7})  # criteria that one failing attack fails
EVERY_REQUIRED_ATTACK = frozenset({0, 1, 8})  # that hold by the required attacks' rows
REAL = frozenset({9, 10})  # criteria on real images
REAL_FIGURES = ("accuracy", "confident_accuracy")  # that must both hold there
REQUIRED_ATTACKS = ("l1_sparse", "masked", "differential_evolution")  # without which nothing is certified


def contradictions(certificate: Certificate) -> Iterator[str]:
    """What can't be true together, each with its field first."""
    ids = [criterion.id for criterion in certificate.criteria]
    if ids != list(range(11)):
        yield f"criteria: expected the ids 0 to 10 in this order; got {ids}"
    indices = [round_.index for round_ in certificate.rounds]
    if len(set(indices)) != len(indices):
        yield f"rounds: each index may stand once; got [{', '.join(map(_said, indices[:40]))}]"
    yield from _subject_contradictions(certificate)
    yield from _name_contradictions(certificate)
    yield from _evolution_contradictions(certificate.evolution, indices)
    yield from _transfer_contradictions(certificate.transfer, indices)
    yield from _proof_contradictions(certificate)
    yield from _perturbed_contradictions(certificate)
    yield from _verdict_contradictions(certificate)
    if certificate.summary.lstrip().lower().startswith("certified") and not certificate.certified:
        yield f"summary: {certificate.summary[:40]!r}, and certified is false"
    if certificate.certified:
        yield from _certified_contradictions(certificate)


def _subject_contradictions(certificate: Certificate) -> Iterator[str]:
    """Something made the weights, and where nobody saw them trained there is no history to speak of."""
    if certificate.defense is None and certificate.checkpoint is None:
        yield "defense: null, and no checkpoint; expected the name of what trained the network"
    if certificate.checkpoint is not None and certificate.scope != "model":
        yield f"scope: {certificate.scope} of a checkpoint; expected model"
    if certificate.scope == "model" and (certificate.rounds or certificate.training_attacks):
        yield "scope: model, yet with rounds or training_attacks; expected none"


def _name_contradictions(certificate: Certificate) -> Iterator[str]:
    """A criterion is called by its number's name, and its classes are the data set's."""
    for criterion, name in zip(certificate.criteria, NAMES, strict=True):
        if criterion.name != name:
            yield f"criteria.{criterion.id}: called {criterion.name[:40]!r}; expected {name!r}"
        labels = tuple(row.label for row in criterion.per_class)
        if labels and labels != certificate.class_names:
            yield f"criteria.{criterion.id}: classes {', '.join(labels)[:80]}; expected those of class_names"


def _verdict_contradictions(certificate: Certificate) -> Iterator[str]:
    """What a pass asks for."""
    if certificate.criteria[8].verdict == "pass" and (shown := _fooled(certificate)):
        yield f"criteria.8: {shown}; expected another verdict than pass"
    for criterion in certificate.criteria:
        if criterion.verdict == "pass":
            for what in _no_pass(criterion):
                yield f"criteria.{criterion.id}: {what}; expected another verdict than pass"


def _no_pass(criterion: CriterionRecord) -> Iterator[str]:
    observed, bound, threshold = criterion.observed, criterion.bound, criterion.threshold
    if not criterion.n or bound is None or threshold is None:
        yield "nothing was measured"
    elif bound < threshold if criterion.direction == "at_least" else bound > threshold:
        yield f"a bound of {bound:g} misses {threshold:g}"
    elif (criterion.direction == "at_most") != (criterion.id == 8):
        yield f"its bound is {criterion.direction} what is allowed"
    elif observed is None:
        yield "nothing observed"
    elif observed < bound if criterion.direction == "at_least" else observed > bound:
        yield f"{observed:g} observed is on the wrong side of its bound, {bound:g}"
    else:
        yield from _no_bound(bound, criterion)
    if failing := [row.label for row in criterion.per_class if row.fails]:
        yield f"class {', '.join(failing)} fails"
    failing = [row.attack for row in criterion.per_attack if row.verdict == "fail"]
    if failing and criterion.id in EVERY_ATTACK:
        yield f"attack {', '.join(failing)} fails"
    held = ("pass", "not_applicable")
    rows = [row for row in criterion.per_attack if row.attack in REQUIRED_ATTACKS and row.verdict not in held]
    if rows and criterion.id in EVERY_REQUIRED_ATTACK:
        yield f"attack {', '.join(row.attack for row in rows)} does not pass"
    if criterion.id in REAL and criterion.per_class:
        yield from _not_its_figures(criterion)


def _not_its_figures(criterion: CriterionRecord) -> Iterator[str]:
    """A criterion on real images holds by the worse of its figures, and the first is the sum of its classes."""
    figures = [criterion.figures.get(name) for name in REAL_FIGURES]
    right = sum(row.ratio.successes for row in criterion.per_class)
    n = sum(row.ratio.n for row in criterion.per_class)
    if criterion.observed not in figures:
        yield f"{criterion.observed:g} observed is none of its figures"
    if n != criterion.n or figures[0] is None or abs(figures[0] * n - right) > ROUNDING * n:
        yield f"its accuracy is not {_said(right)} of {_said(n)}, the sum of its classes"


def _no_bound(bound: float, criterion: CriterionRecord) -> Iterator[str]:
    """No Clopper-Pearson bound is tighter than that of n successes of n."""
    all_of_them = (1 - CONFIDENCE) ** (1 / criterion.n)
    if (bound if criterion.direction == "at_least" else 1 - bound) > all_of_them + ROUNDING:
        yield f"a bound of {bound:g} is tighter than {_said(criterion.n)} trials can make one"


def _fooled(certificate: Certificate) -> str | None:
    """The first place where a certificate says that something fools the network."""
    criterion, frontier = certificate.criteria[8], certificate.frontier
    certified = {round_.index for round_ in certificate.rounds if round_.selected}
    drawn = [step for step in certificate.evolution if step.index in certified]
    added = [row for row in (certificate.perturbed.rows if certificate.perturbed else ()) if row.series == "final"]
    places = (
        ("observed", criterion.observed),
        *((f"the row of {row.attack}", row.ratio.successes) for row in criterion.per_attack),
        *((f"the outcomes of {row.attack}", row.outcomes.get("fooling")) for row in criterion.per_attack),
        *((f"the row of class {row.label}", row.ratio.successes) for row in criterion.per_class),
        ("known_fooling", criterion.figures.get("known_fooling")),
        *((f"the frontier at {row.k}", row.fooling.successes) for row in (frontier.rows if frontier else ())),
        *((f"the evolution's round {step.index}", step.outcomes.get("fooling")) for step in drawn),
        *(("the images made on it and added to real ones", row.turned.n) for row in added),
    )
    return next((f"something fools the network, by {place}" for place, number in places if number), None)


def _certified_contradictions(certificate: Certificate) -> Iterator[str]:
    if missing := [name for name in REQUIRED_ATTACKS if name not in certificate.attacks]:
        yield f"certified: without the required attacks {', '.join(missing)}; expected false"
    skipped = HISTORY if certificate.scope == "model" else frozenset()
    for criterion in certificate.criteria:
        found = f"criterion {criterion.id} is {criterion.verdict.value}"
        if criterion.id in skipped and criterion.verdict != "not_applicable":
            yield f"certified: scope model, yet {found}; expected not_applicable"
        if criterion.verdict != "pass" and criterion.id not in skipped:
            yield f"certified: {found}; expected false"
    yield from _looser(certificate, skipped)
    yield from _weaker(certificate)
    if len(certificate.threat.operating_point) != len(certificate.class_names):
        points = len(certificate.threat.operating_point)
        yield f"certified: {points} operating points for {len(certificate.class_names)} classes; expected one each"
    eight = certificate.criteria[8]
    if eight.n < certificate.budget.images:
        yield f"certified: criterion 8 on {_said(eight.n)} targets; expected {_said(certificate.budget.images)} or more"
    each = [row.ratio.n for row in eight.per_class]
    if len(set(each)) != 1 or sum(each) != eight.n:
        said = ", ".join(map(_said, each[:20]))
        yield f"certified: criterion 8 on {_said(eight.n)} targets, [{said}] by class; expected each equally often"
    healthy = {row.attack for row in eight.per_attack if row.healthy and row.ratio.n}
    if idle := [name for name in REQUIRED_ATTACKS if name in certificate.attacks and name not in healthy]:
        yield f"certified: criterion 8 without {', '.join(idle)} in good health; expected false"
    if certificate.scope == "process" and sum(round_.selected for round_ in certificate.rounds) != 1:
        yield "certified: scope process without one selected round; expected false"
    required = [control for control in certificate.judge_controls if control.required]
    if not required:
        yield "certified: without a required control of the judge; expected false"
    for control in required:
        if not control.holds:
            yield f"certified: the judge's control {control.name!r} does not hold; expected false"


def _looser(certificate: Certificate, skipped: frozenset[int]) -> Iterator[str]:
    """Thresholds that allow more than Distal's own; those of earlier rules may have been others."""
    if certificate.earlier:
        return
    for criterion, asked in zip(certificate.criteria, _asked(certificate.dataset), strict=True):
        threshold, at_most = criterion.threshold, criterion.direction == "at_most"
        if criterion.id in skipped or threshold is None:
            continue
        if threshold > asked if at_most else threshold < asked:
            yield (
                f"certified: criterion {criterion.id} by a threshold of {threshold:g}, "
                f"looser than Distal's own, {asked:g}; expected false"
            )


def _weaker(certificate: Certificate) -> Iterator[str]:
    """Fewer images or passes than the budget of that name buys; more restarts leave each start fewer."""
    said = certificate.budget
    plan = BUDGETS[said.name]
    if not plan.certifies:
        yield f"certified: the {said.name} budget can't certify; expected false"
    if certificate.earlier:
        return
    for what in ("images", "passes", "restarts"):
        found, bought = getattr(said, what), getattr(plan, what)
        if found != bought if what == "restarts" else found < bought:
            yield f"certified: {_said(found)} {what}, where budget {plan.name} buys {bought}; expected false"


@cache
def _asked(dataset: str) -> tuple[float, ...]:
    """Of 9 and 10, which ask for two rates and keep the threshold of the nearer one, the lower of both."""
    allowed = load_thresholds(dataset)
    real = min(allowed.real.accuracy, allowed.real.confident_accuracy)
    return (*(allowed.rates[i] for i in range(9)), real, real)


def _evolution_contradictions(steps: tuple[EvolutionStep, ...], rounds: list[int]) -> Iterator[str]:
    """Its steps are rounds, in order, and their cells line up."""
    shown = [step.index for step in steps]
    if not set(shown) <= set(rounds) or any(after <= before for before, after in pairwise(shown)):
        yield f"evolution: expected rounds of the run in order; got [{', '.join(map(_said, shown[:40]))}]"
    if len({(len(step.sheet.captions), sum(step.outcomes.values())) for step in steps}) > 1:
        yield "evolution: expected the same targets in every step; got other numbers of images"


def _transfer_contradictions(transfer: TransferMatrix | None, rounds: list[int]) -> Iterator[str]:
    """Its rows and columns are rounds of the run, every row has all columns, and no part is more than its whole."""
    if transfer is None:
        return
    named = {*transfer.networks, *transfer.past, *(row.index for row in transfer.rows)}
    if not named <= set(rounds):
        yield "transfer: names a round that the run does not have"
    for number, row in enumerate(transfer.rows):
        if not len(row.detected) == len(row.fake_probability) == len(transfer.networks):
            yield f"transfer.rows.{number}: expected one figure for each of {len(transfer.networks)} networks"
        if max(row.taught, *row.detected, 0) > row.n:
            yield f"transfer.rows.{number}: more than its {_said(row.n)} images"
    for number, attack in enumerate(transfer.attacks):
        if not len(attack.n) == len(attack.detected) == len(transfer.past):
            yield f"transfer.attacks.{number}: expected one figure for each of {len(transfer.past)} past networks"
        elif any(part > whole for part, whole in zip(attack.detected, attack.n, strict=True)):
            yield f"transfer.attacks.{number}: more detected than made"
        elif (attack.total.successes, attack.total.n) != (sum(attack.detected), sum(attack.n)):
            yield f"transfer.attacks.{number}: the total is no sum of its parts"


def _proof_contradictions(certificate: Certificate) -> Iterator[str]:
    """What is proved and what fools can't overlap, and each is said once more where it comes from."""
    proof, frontier, threat = certificate.proof, certificate.frontier, certificate.threat
    proved, fooled = certificate.proved_to, certificate.fooled_from
    source = proof.proved_to if proof else None
    if proved != source:
        yield f"proved_to: {_said(proved)}, but proof.proved_to is {_said(source)}; expected the same"
    if frontier and fooled != frontier.fooled_from:
        found = _said(frontier.fooled_from)
        yield f"fooled_from: {_said(fooled)}, but the frontier's is {found}; expected the same"
    if proved is not None and fooled is not None and fooled <= proved:
        yield f"proved_to: {_said(proved)}, yet fooled_from is {_said(fooled)}; expected more"
    highest = max(threat.operating_point, default=threat.p)
    if highest > threat.p:
        yield f"threat.operating_point: {highest:g}; expected at most p, {threat.p:g}"
    if proved is not None and proof and proved not in {row.k for row in proof.rows}:
        yield f"proof.rows: no bound at {_said(proved)}, up to where it is proved"
    for number, row in enumerate(proof.rows if proof else ()):
        if row.k == proved and row.linear >= highest:
            yield f"proof.rows.{number}: a bound of {row.linear} at what is proved; expected less than {highest}"


def _perturbed_contradictions(certificate: Certificate) -> Iterator[str]:
    """All four counts of a row are of the same pairs, and p over one half leaves no room for another class."""
    for number, row in enumerate(certificate.perturbed.rows if certificate.perturbed else ()):
        where, n = f"perturbed.rows.{number}", row.turned.n
        others = [part.n for part in (row.kept, row.control, row.control_kept)]
        if others != [n] * 3:
            yield f"{where}: of {', '.join(map(_said, [n, *others]))} pairs; expected the same number four times"
        for turned, kept in ((row.turned, row.kept), (row.control, row.control_kept)):
            if certificate.threat.p > 0.5 and turned.successes + kept.successes > n:
                found = f"{_said(turned.successes)} turned and {_said(kept.successes)} kept of {_said(n)}"
                yield f"{where}: {found}; expected no more than all"


def _said(number: int | None) -> str:
    """A number for a message; an absurd one, which Python may refuse to write out, by its size alone."""
    if number is None:
        return "\N{EN DASH}"
    return str(number) if abs(number) < 10**15 else "over 10^15"
