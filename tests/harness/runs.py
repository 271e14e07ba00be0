"""Runs of the suites as a user starts them: another process, small budgets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.settings import Settings
from bench.record import Certificate, read_certificate

ROOT = Path(__file__).resolve().parents[2]
QUIET = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # hypothesis takes seconds to import
SMALL = ("--budget=quick", "--max-rounds=2", "--network=mlp")
UNDEFENDED = (*SMALL, "--defense=undefended", "--attack=l1_sparse")


def start(*arguments: str, cwd: Path = ROOT, path: Path | None = None) -> subprocess.Popen:
    """Begin `pytest suites/ ...` in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", str(ROOT / "suites"), *QUIET, *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*arguments: str, **where: Path) -> tuple[int, str]:
    """`pytest suites/ ...` to its end -> exit status, output."""
    process = start(*arguments, **where)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


@dataclass(frozen=True)
class Done:
    """A finished run."""

    status: int
    output: str
    root: Path

    @property
    def folder(self) -> Path:
        (path,) = self.root.glob("digits-*")
        return path

    @property
    def certificate(self) -> Certificate:
        return read_certificate(self.folder / "certificate.json")

    @property
    def figures(self) -> dict:
        return figures(json.loads((self.folder / "certificate.json").read_text()))


def finished(root: Path, *arguments: str, **where: Path) -> Done:
    """A small run in `root`, to its end."""
    status, output = run(*SMALL, f"--run-root={root}", *arguments, **where)
    return Done(status, output, root)


def settings(tmp_path: Path, **changed: Any) -> Settings:
    """What a small run on digits is asked for, all of it under one folder."""
    base = {
        "dataset": "digits",
        "defense": "fakeclass",
        "checkpoint": None,
        "network": "mlp",
        "attacks": ("attacks.l1_sparse:l1_sparse",),
        "budget": "quick",
        "seed": 0,
        "device": "cpu",
        "threads": 1,
        "passes": None,
        "max_rounds": None,
        "replay_sample": None,
        "p": 0.9,
        "k": None,
        "thresholds": None,
        "data_root": tmp_path / "data",
        "download": False,
        "run_root": tmp_path / "runs",
        "run_dir": None,
        "fresh": False,
    }
    return Settings(**(base | changed))


def figures(certificate: dict) -> dict:
    """A certificate without what may differ between equal runs: times and the command."""
    kept = {key: value for key, value in certificate.items() if key not in ("cost", "environment")}
    return kept | {"passes": certificate["cost"]["forward_passes"] + certificate["cost"]["backward_passes"]}
