"""A session around a network that is given: everything is the bench's own but the training."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace

from torch import nn

from attacks.differential_evolution import differential_evolution
from attacks.l1_sparse import l1_sparse
from attacks.masked import masked
from bench.budgets import BudgetPlan
from bench.harness.gallery import Gallery
from bench.harness.history import Past
from bench.harness.session import Session
from bench.harness.settings import Settings
from bench.health import Finding
from bench.materials.data import Data, Split, load
from bench.materials.judge import FittedJudge, measuring_judge
from bench.materials.networks import build, mlp
from bench.materials.training import train_classifier
from bench.record import CriterionRecord
from bench.seeds import generator
from bench.store import Store
from bench.types import Budget

ATTACKS = {"l1_sparse": l1_sparse, "masked": masked, "differential_evolution": differential_evolution}
ENOUGH = 300  # targets that can prove a pass, so that its absence means something
FEW = 60
BUDGET = Budget(300, 1)


@dataclass(frozen=True)
class PlantedSettings(Settings):
    """Settings with a budget that no name stands for."""

    images: int
    spends: Budget

    @property
    def plan(self) -> BudgetPlan:
        return BudgetPlan(self.budget, self.images, self.spends.passes, self.spends.restarts, 1, 1, certifies=True)


def settings(dataset: str, images: int, attack: Budget) -> PlantedSettings:
    nowhere = Path()
    return PlantedSettings(
        dataset=dataset,
        defense="planted",
        checkpoint=None,
        network="mlp",
        attacks=tuple(ATTACKS),
        budget="planted",
        seed=0,
        device="cpu",
        threads=1,
        passes=None,
        max_rounds=None,
        replay_sample=None,
        p=0.9,
        k=None,
        thresholds=None,
        data_root=nowhere,
        download=False,
        run_root=nowhere,
        run_dir=None,
        fresh=False,
        images=images,
        spends=attack,
    )


class OneStep(Gallery):
    """Sweeps have one step, the run's own k: smaller ones take most of a test's time."""

    @property
    def sweep_steps(self) -> list[int]:
        return [self.session.k]


class Planted(Session):
    """A run whose one round is `network`, on `lab`'s data, control and measuring judge."""

    lab = None
    store = None
    has_history = False
    selected = 0

    def __init__(self, network: nn.Module, lab: SimpleNamespace, folder: Path, images: int, attack: Budget):
        super().__init__(settings(lab.data.name, images, attack))
        self.lab, self.store, self.attacks = lab, Store(folder), ATTACKS
        self.gallery = OneStep(self)
        self.history = [Past(0, network, None)]
        self.untouched = copy.deepcopy(network)

    @cached_property
    def found(self) -> list[Finding]:
        return super().checks()

    def checks(self) -> list[Finding]:
        return self.found

    def final_anew(self) -> nn.Module:
        return copy.deepcopy(self.untouched)

    def frontier(self) -> None:
        """Left out: it carries no verdict."""

    def verdict(self, criterion: int) -> CriterionRecord:
        return self.criterion(criterion)

    def fooled(self) -> dict[str, int]:
        """Targets that each attack of the cascade fooled."""
        return {name: made.verified.counts()["fooling"] for name, made in self.gallery.cascade().items()}


def trained(data: Data, real: Split, epochs: int) -> nn.Module:
    """An ordinary, undefended network."""
    network = build(mlp, data.spec, data.spec.real_classes, seed=0)
    return train_classifier(network, real, generator=generator(0, "batches"), epochs=epochs)


@cache
def digits() -> Data:
    return load("digits", root=Path(), seed=0, allow_download=False)


@cache
def judge() -> FittedJudge:
    half = digits().b_train
    return measuring_judge(half.images, half.labels, seed=0)


@cache
def classifier() -> nn.Module:
    """Shared by all planted networks, so nothing may train it further."""
    return trained(digits(), digits().a_train, epochs=30)


@cache
def control_folder() -> Path:
    """A run's folder with what does not depend on the network under test: criteria 0, 1, and images on network B."""
    folder = Path(tempfile.mkdtemp(prefix="distal-planted-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    session = Planted(classifier(), lab(), folder, FEW, BUDGET)
    session.measurement(0), session.measurement(1)
    session.gallery.share(("network-b", name) for name in ATTACKS)
    return folder


def lab() -> SimpleNamespace:
    return SimpleNamespace(data=digits(), control=classifier(), network_b=classifier(), measuring_judge=judge())


def on_digits(network: nn.Module, folder: Path, images: int = FEW) -> Planted:
    shutil.copytree(control_folder(), folder, dirs_exist_ok=True)
    return Planted(network, lab(), folder, images, BUDGET)
