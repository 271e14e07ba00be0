"""What a run was asked for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.budgets import BUDGETS, BudgetPlan
from bench.types import Budget


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run's figures, and where it is kept."""

    dataset: str
    defense: str | None  # beside a checkpoint there is none
    checkpoint: Path | None
    network: str
    attacks: tuple[str, ...]
    budget: str
    seed: int
    device: str
    threads: int
    passes: int | None
    max_rounds: int | None
    replay_sample: int | None
    p: float
    k: int | None
    thresholds: Path | None
    data_root: Path
    download: bool
    run_root: Path
    run_dir: Path | None
    fresh: bool

    @property
    def plan(self) -> BudgetPlan:
        return BUDGETS[self.budget]

    @property
    def attack(self) -> Budget:
        """What measuring may spend on an image; what training may, follows from the plan alone."""
        return Budget(self.plan.passes if self.passes is None else self.passes, self.plan.restarts)

    @property
    def subject(self) -> str:
        """What is certified, as it stands in the run's name."""
        return self.defense or self.checkpoint.stem

    @property
    def weights_name(self) -> str | None:
        """What a checkpoint is called; a run's round by its run, since all rounds' weights have one file name."""
        if self.checkpoint is None:
            return None
        parts = self.checkpoint.parts
        return "/".join(parts[-4:]) if parts[-3:-2] == ("rounds",) else self.checkpoint.name


ELSEWHERE = ("data_root", "download", "run_root", "run_dir", "fresh", "checkpoint", "thresholds")


def config_of(settings: Settings, **facts: Any) -> dict[str, Any]:
    """The run's settings as stored in `config.json`: all that decides figures, and nothing else.

    Args:
        settings: as asked for.
        facts: what the names stand for today: data fingerprint, code hash, weights hash, thresholds.
    """
    asked = {key: value for key, value in asdict(settings).items() if key not in ELSEWHERE}
    return json.loads(json.dumps({**asked, **facts}))
