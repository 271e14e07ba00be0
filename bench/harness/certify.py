"""The certificate: what was measured, what follows, and all that made it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import torch

from bench.harness.beside import counted
from bench.harness.detection import by_class
from bench.harness.gallery import REFERENCE_PROCESS
from bench.harness.history import Past
from bench.harness.lab import accuracy
from bench.harness.provenance import packages, revision
from bench.harness.recorder import SHEET_IMAGES
from bench.harness.session import Session
from bench.harness.transfer import transfer
from bench.record import (
    RULES,
    BudgetRecord,
    Certificate,
    CertificateError,
    ClassRow,
    Cost,
    CriterionRecord,
    Environment,
    EvolutionStep,
    RoundRecord,
    Sheet,
    ThreatRecord,
    VerdictName,
    read_certificate,
)
from bench.sheets import captions, sheet
from bench.types import Outcome
from bench.verdict.criteria import MODEL_SCOPE, PROCESS_SCOPE
from bench.verdict.stats import ratio
from bench.verify import OUTCOMES, Verified

SAYS = {
    VerdictName.FAIL: "fails",
    VerdictName.INCONCLUSIVE: "is inconclusive",
    VerdictName.NOT_APPLICABLE: "does not apply",
}
Scope = Literal["model", "process"]


def certify(session: Session, command: str) -> Certificate:
    """Decide all eleven criteria, write `certificate.json` and its contact sheets -> the certificate.

    Raises:
        NonFiniteError: what can't be left out came to NaN.
        ProofViolatedError: an attack found what is proved not to exist.
    """
    criteria = tuple(session.criterion(criterion) for criterion in PROCESS_SCOPE)
    settings, plan = session.settings, session.settings.plan
    certified, summary = _summary(session, criteria)
    frontier, proof = session.frontier(), session.proof()
    evolution = tuple(_evolution(session))  # before its cost and its files are counted
    costs = session.store.load_json("cost.json") if session.store.has("cost.json") else {}
    certificate = Certificate(
        rules=RULES,
        dataset=settings.dataset,
        image_shape=session.spec.shape,
        class_names=session.spec.class_names,
        defense=settings.defense,
        checkpoint=settings.weights_name,
        network=settings.network,
        training_attacks=tuple(session.processes) if session.has_history else (),
        attacks=tuple(session.settings.attacks),
        scope=scope_of(session),
        certified=certified,
        summary=summary,
        threat=ThreatRecord(
            p=settings.p,
            k=session.k,
            pixels=session.spec.pixels,
            operating_point=session.final_threat.p,
        ),
        budget=BudgetRecord(
            name=plan.name,
            images=plan.images,
            passes=settings.attack.passes,
            restarts=settings.attack.restarts,
            rounds=settings.max_rounds or plan.rounds,
        ),
        environment=Environment(
            command=command,
            seed=settings.seed,
            device=settings.device,
            threads=settings.threads,
            revision=revision(),
            packages=packages(),
            made_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        ),
        criteria=criteria,
        judge_controls=session.measurement(1).judge_controls,
        rounds=tuple(_round(session, past) for past in session.history) if session.has_history else (),
        evolution=evolution,
        transfer=transfer(session),
        sheets=tuple(_sheets(session)),
        score=session.scores[session.selected],
        fooled_from=frontier.fooled_from if frontier else None,
        frontier=frontier,
        proof=proof,
        proved_to=proof.proved_to,
        perturbed=session.perturbed(),
        cost=Cost(
            seconds=sum(cost["seconds"] for cost in costs.values()),
            forward_passes=sum(cost["forward_passes"] for cost in costs.values()),
            backward_passes=sum(cost["backward_passes"] for cost in costs.values()),
        ),
        hashes=session.store.hashes(),
    )
    if stored := _same(session, certificate):
        return stored
    session.store.save_json("certificate.json", certificate.model_dump(mode="json"))
    return certificate


def _same(session: Session, made: Certificate) -> Certificate | None:
    """The run's certificate if only date and command would change: what people said of its images is bound to it."""
    with suppress(CertificateError):
        stored = read_certificate(session.store.path("certificate.json"))
        asked = {name: getattr(stored.environment, name) for name in ("made_at", "command")}
        again = {"environment": made.environment.model_copy(update=asked), "human": stored.human}
        if made.model_copy(update=again) == stored:
            return stored
    return None


def scope_of(session: Session) -> Scope:
    return "process" if session.has_history else "model"


def criteria_in(scope: Scope) -> tuple[int, ...]:
    """Ids of the criteria that a scope holds."""
    return PROCESS_SCOPE if scope == "process" else MODEL_SCOPE


def _summary(session: Session, criteria: tuple[CriterionRecord, ...]) -> tuple[bool, str]:
    scope = scope_of(session)
    held = [criteria[i] for i in criteria_in(scope)]
    missing = [c for c in held if c.verdict != VerdictName.PASS]
    looser = session.thresholds.looser_than(session.default_thresholds)
    passed = f"{len(held) - len(missing)} of {len(held)} criteria of scope {scope} pass"
    if missing:
        worst = min(missing, key=lambda c: (c.verdict != VerdictName.FAIL, c.id != 8, c.id))
        return (
            False,
            f"Not certified: {passed}; criterion {worst.id} ({worst.name}) {SAYS[worst.verdict]}. {worst.reason}",
        )
    if not session.settings.plan.certifies:
        return False, f"Not certified: {passed}, but budget {session.settings.budget} is too small to certify."
    if looser:
        ids = ", ".join(map(str, looser))
        return False, f"Not certified: {passed}, but by thresholds looser than Distal's own (criteria {ids})."
    return True, f"Certified: {passed} against {', '.join(session.settings.attacks)}."


def _round(session: Session, past: Past) -> RoundRecord:
    images, names = past.images, session.spec.class_names
    classes = ()
    picture = None
    if images:
        made = images.made
        columns = {"probability": made.probability, "pixels": made.pixels}
        _, per_class = by_class(made.is_(Outcome.FOOLING), made.targets, names, columns)
        classes = tuple(
            ClassRow(label=name, ratio=ratio(counts.successes, counts.n), means=counts.means)
            for name, counts in per_class.items()
        )
        shown = made[slice(0, SHEET_IMAGES)]
        title = f"Round {past.index}: {images.attack}"
        picture = _sheet(session, f"round-{past.index:03d}", title, shown, images.attack)
    return RoundRecord(
        index=past.index,
        attack=images.attack if images else None,
        passes=images.budget.passes if images else 0,
        attempted=len(images.made.targets) if images else 0,
        outcomes=images.made.counts() if images else dict.fromkeys(OUTCOMES, 0),
        trained_as_fake=int(images.taught.sum()) if images else 0,
        heldout=len(images.fooling_heldout.targets) if images else 0,
        validation_accuracy=accuracy(past.network, session.validation),
        score=session.scores[past.index],
        selected=past.index == session.selected,
        per_class=classes,
        sheet=picture,
    )


def _evolution(session: Session) -> Iterator[EvolutionStep]:
    """One sheet a step; its cells are the same targets in every step."""
    for index, drawn in session.evolution.steps():
        title = f"Round {index}: the same targets"
        picture = _sheet(session, f"evolution-{index:03d}", title, drawn, REFERENCE_PROCESS)
        yield EvolutionStep(index=index, sheet=picture, outcomes=drawn.counts())


def _sheets(session: Session) -> list[Sheet]:
    """What each attack drew, on the control and on the final network; there, what counts most comes first."""
    sheets = []
    for place, title in (("control", "undefended control"), ("final", "final network")):
        for name, found in _images(session, place).items():
            if not len(found.targets):  # in the cascade: nothing was left standing
                continue
            shown = _most_telling(found) if place == "final" else found
            slug = re.sub(r"[^\w]+", "_", name)
            shown = shown[slice(0, SHEET_IMAGES)]
            sheets.append(_sheet(session, f"{place}-{slug}", f"{name} on the {title}", shown, name))
    return sheets


def _images(session: Session, place: str) -> dict[str, Verified]:
    if place == "final":
        return {name: counted(session, name, made) for name, made in session.gallery.finite_cascade().items()}
    return session.gallery.finite_images(place)


def _most_telling(found: Verified) -> Verified:
    order = torch.tensor([list(Outcome).index(o) for o in OUTCOMES])[found.outcome] * 10 - found.probability
    return found[order.argsort(stable=True)]


def _sheet(session: Session, name: str, title: str, shown: Verified, attack: str) -> Sheet:
    file = f"sheets/{name}.png"
    digest = session.store.save_file(file, sheet(shown.images))
    oddest = session.lab.measuring_judge.oddest(shown.images)
    texts = tuple(captions(shown, session.spec.class_names, oddest))
    return Sheet(title=title, file=file, sha256=digest, captions=texts, attack=attack)
