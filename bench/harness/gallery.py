"""The images of a run: what each attack makes at each place, made once and stored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.errors import NonFiniteError
from bench.harness.generate import Generated, balanced_targets, better, generate
from bench.harness.registry import ATTACKS, REFERENCE_ATTACK, STARTS, import_path
from bench.harness.select import fooling_half
from bench.harness.step import Made, Step, cascade_at, stored_name
from bench.harness.thinning import thinned
from bench.seeds import derive
from bench.types import Attack, Outcome, ThreatModel
from bench.verify import Verified, rejudged

if TYPE_CHECKING:
    from bench.harness.session import Session

REACHED = (Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION)  # confident and sparse
CONFIDENT = (*REACHED, Outcome.DENSE)
REFERENCE_PROCESS = "l1_sparse"  # stands for training's where there was none, and tests the judge
FINAL = ("final", "final-real")  # places whose network is the certified one
FURTHER = 10  # times the budget's starts, at most, where early stops leave passes for more
SWEEP = (5, 10, 20)  # then doubled up to k
SWEEP_IMAGES = {"control": 100, "final": 30}
MINIMAL_IMAGES = 30


class Gallery:
    """Images by place and attack, with the measuring budget.

    Places are "control", "network-b", "round-NNN" and "final"; "final-real" is the final network with its fake
    classes cut off.
    """

    def __init__(self, session: Session):
        self.session = session
        self._made: dict[tuple[str, str], Made | NonFiniteError] = {}
        self._cascades: dict[str, dict[str, Made]] = {}
        self._sweeps: dict[tuple[str, str, int], Verified] = {}
        self._non_finite: dict[tuple[str, str], int] = {}

    @property
    def reference(self) -> str:
        """The attack that stands for all where one is enough: l1_sparse, else the first of the selection."""
        selected = self.session.settings.attacks
        return REFERENCE_PROCESS if REFERENCE_PROCESS in selected else selected[0]

    def made(self, place: str, attack: str) -> Made:
        """All that an attack made at a place; past networks share the budget's images among them.

        Raises:
            NonFiniteError: the network or the attack produced NaN; raised again when asked again.
        """
        if (place, attack) not in self._made:
            try:
                self._made[place, attack] = self._stored(self._all(place, attack, self._asked(place), self.session.k))
            except NonFiniteError as error:
                self._made[place, attack] = error
        found = self._made[place, attack]
        if isinstance(found, NonFiniteError):
            raise found
        return found

    def _asked(self, place: str) -> int:
        """For how many targets at least an attack is asked at a place."""
        session = self.session
        n = session.settings.plan.images
        if place.startswith("round-"):
            return max(session.spec.real_classes, -(-n // len(session.rounds_before_selected())))
        return n

    def share(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Have images made of (place, attack), but for those that another process is at work on: so each makes some."""
        for place, attack in wanted:
            file = stored_name(place, attack, self._asked(place), self.session.k)
            self._unless_busy(file, self.made, place, attack)

    def _unless_busy(self, file: str, make: Callable[..., object], *of: object) -> None:
        """What comes to NaN is left to whoever asks for it next, and says so."""
        if not self.session.store.busy(file):
            with suppress(NonFiniteError):
                make(*of)

    def images(self, place: str, attack: str) -> Verified:
        """The images of `made`."""
        return self.made(place, attack).verified

    def cascade(self, place: str = "final") -> dict[str, Made]:
        """Criterion 8: the cheapest attack first, each on the targets that still stand -> in that order.

        On the final network an attack that minimises pixels also runs without a k to stop at, and all confident images
        are thinned; what comes of that stands in for the image of its target where it counts more.

        Raises:
            NonFiniteError: the network or an attack produced NaN.
        """
        session = self.session
        n = len(balanced_targets(session.spec.real_classes, session.settings.plan.images))
        done = self._cascades.setdefault(place, {})
        order = sorted(session.settings.attacks, key=lambda name: (self.price(name), name))
        standing = torch.arange(n)
        for i, name in enumerate(order):
            if name not in done:
                while session.store.busy(stored_name(cascade_at(place), name, n, session.k)):
                    if not self._went_ahead(place, order[i + 1 :], n, standing):
                        break
                made = self._stored(_link(place, name, n, session.k, standing))
                done[name] = self._with_beside(name, n, made) if place == "final" else made
            standing = _left(standing, done[name])
        return done

    def _went_ahead(self, place: str, order: list[str], n: int, standing: Tensor) -> bool:
        """Take the next step of a cascade that no process is at work on, if any, while another takes one before it.

        The guess is that what is in work leaves all standing; where it was wrong, the step is taken again.
        """
        store = self.session.store
        for name in order:
            file = stored_name(cascade_at(place), name, n, self.session.k)
            if store.busy(file):
                continue
            if store.has(file):
                with store.working(file):  # a wrong guess is taken again, and is no file meanwhile
                    standing = _left(standing, self._read(file))
            else:
                with suppress(NonFiniteError):
                    self._stored(_link(place, name, n, self.session.k, standing))
                    return True
        return False

    def _with_beside(self, attack: str, n: int, made: Made) -> Made:
        """The cascade's images by one attack on the final network, or what counts more of their target's others."""
        found = list(self._beside(attack, n, made))
        beside = tuple(each.verified for each in (made, *found))
        for each in found:
            made = replace(made, verified=made.or_worse(each.targets, each.verified))
        return replace(made, beside=beside)

    def _beside(self, attack: str, n: int, made: Made) -> Iterator[Made]:
        """What an attack makes with no k to stop at, judged at the run's own, and confident images thinned."""
        session = self.session
        sources = [("thinned", n, made)]
        if attack in ATTACKS.minimisers:
            few = self._stored(self._all("final", attack, MINIMAL_IMAGES, 0))
            few = replace(few, verified=rejudged(few.verified, session.final_threat, session.lab.measuring_judge))
            sources.append(("thinned-minimal", MINIMAL_IMAGES, few))
            yield few
        for folder, asked, found in sources:
            confident = found.verified.is_(*CONFIDENT)
            if confident.any():
                which, thins = found.targets[confident], found.verified[confident]
                yield self._stored(Step(folder, "final", attack, asked, session.k, which, thins))

    def or_thinned(self, folder: str, attack: str, found: Verified) -> Verified:
        """Images on the final network; of confident ones that do not fool it, what thinning leaves if that counts more.

        Args:
            folder: where the thinned ones are stored.
            attack: that made the images.

        Raises:
            NonFiniteError: the network produced NaN.
        """
        which = torch.nonzero(found.is_(*CONFIDENT) & ~found.is_(Outcome.FOOLING)).flatten()
        if not len(which):
            return found
        step = Step(folder, "final", attack, len(found.targets), self.session.k, which, found[which])
        return better(found, self._stored(step).verified, which)

    def price(self, attack: str) -> float:
        """Passes that one confident, sparse image of the undefended control costs; infinite where there is none."""
        with suppress(NonFiniteError):
            made = self.made("control", attack)
            reached = int(made.verified.is_(*REACHED).sum())
            return made.passes / reached if reached else math.inf
        return math.inf

    def finite_images(self, place: str) -> dict[str, Verified]:
        """The images of every attack at a place, without those that came to NaN; at "final", the cascade's."""
        if place == "final":
            return {name: made.verified for name, made in self.finite_cascade().items()}
        found = {}
        for name in self.session.settings.attacks:
            with suppress(NonFiniteError):
                found[name] = self.images(place, name)
        return found

    def finite_cascade(self) -> dict[str, Made]:
        """The cascade on the final network, up to the attack that came to NaN if one did."""
        with suppress(NonFiniteError):
            return self.cascade()
        return self._cascades["final"]

    def verdict_part(self, place: str, attack: str) -> Verified:
        """The fooling images that played no part in model selection."""
        found = self.images(place, attack)
        if place == "network-b" and self.session.has_history:
            return fooling_half(found, self.session.spec.real_classes, selecting=False)
        return found[found.is_(Outcome.FOOLING)]

    def sweep(self, place: str, attack: str) -> dict[int, Verified]:
        """An attack's images at a place with at most 5, 10, 20, 40, ... and k pixels."""
        return {k: self.at_k(place, attack, k) for k in self.sweep_steps}

    def share_sweep(self, place: str, attack: str) -> None:
        """Have the steps of a sweep made, but for those that another process is at work on."""
        for k in self.sweep_steps:
            file = stored_name(place, attack, SWEEP_IMAGES[place], k)
            self._unless_busy(file, self.at_k, place, attack, k)

    @property
    def sweep_steps(self) -> list[int]:
        """The numbers of pixels of a sweep."""
        most = self.session.k
        return [k for k in (*SWEEP, *(20 * 2**i for i in range(1, 12))) if k < most] + [most]

    def at_k(self, place: str, attack: str, k: int) -> Verified:
        """One step of a sweep, judged at its own k."""
        if (place, attack, k) not in self._sweeps:
            self._sweeps[place, attack, k] = self._stored(self._all(place, attack, SWEEP_IMAGES[place], k)).verified
        return self._sweeps[place, attack, k]

    @property
    def non_finite(self) -> dict[str, int]:
        """Attack -> images it met on the final network, as far as it was asked for, whose logits were not finite."""
        counts: dict[str, int] = {}
        for (attack, _), number in self._non_finite.items():
            counts[attack] = counts.get(attack, 0) + number
        return counts

    def note(self, attack: str, file: str, non_finite: int) -> None:
        """Remember how many images, when one file of the final network was made, had logits that were not finite."""
        self._non_finite[attack, file] = non_finite

    def _all(self, place: str, attack: str, n: int, k: int) -> Step:
        """Images for all of `n` targets or more."""
        which = torch.arange(len(balanced_targets(self.session.spec.real_classes, n)))
        return Step(place, place, attack, n, k, which)

    def _stored(self, step: Step) -> Made:
        store = self.session.store
        with store.working(step.file):
            if not store.has(step.file) or not torch.equal((made := self._read(step.file)).targets, step.which):
                self._make(step)
                made = self._read(step.file)
        if step.place in FINAL:
            self.note(step.attack, step.file, made.non_finite)
        return made

    def _read(self, name: str) -> Made:
        stored = self.session.store.load_tensors(name)
        forward, backward, non_finite = stored.pop("counts").tolist()
        return Made(stored.pop("which"), Verified(**stored), forward + backward, non_finite)

    def _make(self, step: Step) -> None:
        session, place, attack = self.session, step.place, step.attack
        network = session.network_at(place)  # first: training it is no part of this step
        threat = ThreatModel(session.threat_of(network).p, step.k)
        if step.thins is not None:
            session.say(f"thinning what {attack} found on {place}: {len(step.which)} images")
            started = time.monotonic()
            keep(session, step.file, thinned(session, network, step.thins, threat), step.which, started)
            return
        targets = step.targets(session.spec.real_classes)
        session.say(f"{attack} on {place.replace('-', ' ')}: {len(targets)} targets")
        budget = session.settings.attack
        starts, most_starts = None, FURTHER * budget.restarts
        if attack in ATTACKS.started:
            start = import_path(STARTS[ATTACKS.started[attack]], "start")
            starts = start(session, place, targets, most_starts)
        generate_and_store(
            session,
            step.file,
            self.attack(attack),
            network,
            targets,
            step.which,
            threat=threat,
            budget=budget,
            seed=derive(session.settings.seed, "generate", place, attack, step.k),
            starts=starts,
            most_starts=most_starts,
        )

    def attack(self, name: str) -> Attack:
        """An attack of the selection or of training; the reference attack's own code where it is neither."""
        if name in ATTACKS.judged:
            return partial(self.session.attacks[name], judge=self.session.lab.measuring_judge)
        if name in self.session.attacks:
            return self.session.attacks[name]
        return self.session.defense.attacks.get(name) or import_path(REFERENCE_ATTACK, "--attack")


def _left(standing: Tensor, made: Made) -> Tensor:
    """The targets that an attack left standing."""
    return standing[~torch.isin(standing, made.targets[made.verified.is_(Outcome.FOOLING)])]


def generate_and_store(
    session: Session,
    name: str,
    attack: Attack,
    network: nn.Module,
    targets: Tensor,
    which: Tensor,
    **how: Any,
) -> None:
    """Attack a network; the images, what they cost and which of its targets they are for go to one file.

    Args:
        targets: [n] real classes.
        which: [n] of a place's targets they are.
        how: `threat`, `budget`, `seed`, `starts` and `most_starts` of `generate`.
    """
    started = time.monotonic()
    judge = session.lab.measuring_judge
    keep(session, name, generate(attack, network, session.spec, targets, judge=judge, **how), which, started)


def keep(session: Session, name: str, made: Generated, which: Tensor, started: float) -> None:
    """Store images with what they cost, in passes and in seconds since `started`, and which targets they are for."""
    counts = torch.tensor([made.forward_passes, made.backward_passes, made.non_finite])
    session.store.save_tensors(name, {**vars(made.verified), "which": which, "counts": counts})
    session.add_cost(name, time.monotonic() - started, made.forward_passes, made.backward_passes)


def _link(place: str, attack: str, n: int, k: int, standing: Tensor) -> Step:
    """One attack's turn in a cascade: for those that still stand, and apart from its other images."""
    return Step(cascade_at(place), place, attack, n, k, standing)
