"""Imports point down (DESIGN.md, section 7)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    # room: the rooms it may import
    "bench/budgets.py": (),
    "bench/errors.py": (),
    "bench/types.py": (),
    "bench/thresholds.py": ("bench.errors",),
    "bench/consistency.py": ("bench.record", "bench.budgets", "bench.thresholds"),  # of record, its types alone
    "bench/record.py": ("bench.consistency",),
    "bench/seeds.py": (),
    "bench/arithmetic.py": (),
    "bench/meter.py": ("bench.arithmetic", "bench.errors", "bench.types"),
    "bench/verify.py": ("bench.arithmetic", "bench.errors", "bench.types"),
    "bench/files.py": (),
    "bench/store.py": ("bench.errors", "bench.types", "bench.files"),
    "bench/health.py": ("bench.record",),
    "bench/sheets.py": ("bench.verify",),
    "bench/inspection.py": (
        "bench.errors",
        "bench.types",
        "bench.record",
        "bench.seeds",
        "bench.verify",
        "bench.sheets",
        "bench.materials",
    ),
    "bench/task.py": ("bench.types", "bench.materials"),
    "bench/verdict": (
        "bench.types",
        "bench.thresholds",
        "bench.record",
        "bench.consistency",
        "bench.health",
        "bench.verdict",
    ),
    "bench/materials": (
        "bench.errors",
        "bench.types",
        "bench.record",
        "bench.seeds",
        "bench.verdict.stats",
        "bench.materials",
    ),
    "bench/proof": (
        "bench.arithmetic",
        "bench.errors",
        "bench.types",
        "bench.materials",
        "bench.proof",
        "bench.seeds",
        "bench.verify",
    ),
    "bench/harness": ("bench",),
    "bench/audit": ("bench", "attacks"),
    "bench/arsenal": ("bench", "attacks"),
    "bench/figures": ("bench", "attacks", "defenses"),
    "bench/speed": ("bench", "attacks", "defenses"),
    "attacks": ("bench", "attacks"),
    "defenses": ("bench", "attacks", "defenses"),
    "reports": ("bench.record", "bench.files", "reports"),
    "suites": (),
}
OURS = ("attacks", "bench", "defenses", "reports", "suites", "tests")
LAZY = {
    ("bench/harness/run.py", "reports.build"),
    ("bench/harness/plugin.py", "reports.text"),
    ("reports/inspect_page.py", "bench.inspection"),
    ("reports/verify_command.py", "bench.audit.audit"),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.split(".")[0] in OURS}


def files(room: str) -> list[Path]:
    path = ROOT / room
    return [path] if path.suffix else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below_it(room):
    for path in files(room):
        where = str(path.relative_to(ROOT))
        for name in imported(path):
            if (where, name) in LAZY:
                continue
            allowed = any(name == below or name.startswith(below + ".") for below in ROOMS[room])
            assert allowed, f"{where} imports {name}"


def test_every_file_of_the_bench_has_a_room():
    rooms = [ROOT / room for room in ROOMS]
    for path in (ROOT / "bench").rglob("*.py"):
        if path.name != "__init__.py":
            assert any(path == room or room in path.parents for room in rooms), path


def test_harness_never_imports_what_it_judges():
    for path in files("bench/harness"):
        assert not {name for name in imported(path) if name.split(".")[0] in ("attacks", "defenses", "suites")}
