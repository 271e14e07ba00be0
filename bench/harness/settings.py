"""What a run was asked for, and the hash that names it."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import inspect
import json
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.task import Defense
from bench.types import Budget

ROOT = Path(__file__).resolve().parents[2]
THRESHOLDS = ROOT / "suites" / "thresholds.toml"
CODE = ("bench", "attacks", "defenses", "suites")


@dataclass(frozen=True)
class BudgetPlan:
    """What one named budget buys.

    Args:
        images: targets per attack, in every place it is measured.
        attack: passes per image and restarts, for measuring.
        rounds: most rounds of training.
        heldout: images the harness makes for each round.
        certifies: whether its samples can prove what criterion 8 asks.
        leaves_out: attacks that are not run unless they are asked for by name.
    """

    name: str
    images: int
    attack: Budget
    rounds: int
    heldout: int
    certifies: bool
    leaves_out: tuple[str, ...] = ()

    @property
    def training(self) -> Budget:
        """The most passes training may spend on an image: always less than the suites measure with."""
        return Budget(self.attack.share().passes // 2, 1)


# The rest of the ensemble: `standard` keeps to the required attacks and the quickest strong one, to fit in minutes.
FULL_ONLY = (
    "ead",
    "fmn_l0",
    "fmn_l1",
    "from_real",
    "greedy_saliency",
    "map_elites",
    "ood_aware",
    "pgd_l0",
    "sigma_zero",
    "sparse_pgd_projected",
    "sparse_rs",
    "transfer",
)
BUDGETS = {
    plan.name: plan
    for plan in (
        BudgetPlan("quick", 60, Budget(600, 1), 4, 40, False, FULL_ONLY),
        BudgetPlan("standard", 300, Budget(2_000, 2), 20, 100, True, FULL_ONLY),
        BudgetPlan("full", 1_000, Budget(10_000, 4), 100, 300, True),
    )
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run's figures, and where it is kept."""

    dataset: str
    defense: str
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
        return self.plan.attack if self.passes is None else Budget(self.passes, self.plan.attack.restarts)

    @property
    def subject(self) -> str:
        """What is certified, as it stands in the run's name."""
        return self.checkpoint.stem if self.checkpoint else self.defense


ELSEWHERE = ("data_root", "download", "run_root", "run_dir", "fresh", "checkpoint", "thresholds")


def config_of(settings: Settings, **facts: Any) -> dict[str, Any]:
    """The run's settings as stored in `config.json`: all that decides figures, and nothing else.

    Args:
        settings: as asked for.
        facts: what the names stand for today: data fingerprint, code hash, weights hash, thresholds.
    """
    asked = {key: value for key, value in asdict(settings).items() if key not in ELSEWHERE}
    return json.loads(json.dumps({**asked, **facts}))


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def code_hash() -> str:
    """SHA-256 over the code that decides figures; a change of it makes a new run."""
    found = hashlib.sha256()
    for room in CODE:
        for path in sorted((ROOT / room).rglob("*.py")):
            found.update(str(path.relative_to(ROOT)).encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def source_hash(thing: Any) -> str:
    """SHA-256 of the code a user's attack, network or defense is written in; empty where there is none.

    Of a module of a package that is the whole package, else its file and the modules beside it that it imports.
    """
    while isinstance(thing, (partial, Defense)):
        thing = thing.func if isinstance(thing, partial) else thing.train
    if not inspect.isroutine(thing) and not inspect.isclass(thing):
        thing = type(thing)
    try:
        file = Path(inspect.getsourcefile(thing) or "").resolve(strict=True)
        found = hashlib.sha256()
        for path in sorted(_package(file) or _beside(file)):
            found.update(path.read_bytes())
        return found.hexdigest()
    except (TypeError, OSError):
        return ""


def _package(file: Path) -> list[Path] | None:
    """All modules of the outermost package that a file belongs to, if any."""
    top = file.parent
    if not (top / "__init__.py").is_file():
        return None
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    return list(top.rglob("*.py"))


def _beside(file: Path) -> set[Path]:
    """A file, and what it imports from its own folder, with all that this imports from there."""
    found, open_ = set(), [file]
    while open_:
        path = open_.pop()
        if path in found:
            continue
        found.add(path)
        for name in _imported(path) - set(CODE):  # those `code_hash` has
            if (module := file.parent / f"{name}.py").is_file():
                open_.append(module)
            elif (file.parent / name / "__init__.py").is_file():
                found.update((file.parent / name).rglob("*.py"))
    return found


def _imported(path: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


def revision() -> str:
    """The code's git commit, with '+changes' for a dirty tree; 'unknown' outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def packages() -> dict[str, str]:
    """Versions of what computes the figures."""
    names = ("distal", "numpy", "scikit-learn", "scipy", "torch", "torchvision")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
