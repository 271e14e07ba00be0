"""Bounds and attacks on a linear network, where both must meet the optimum on paper."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from planted_figures import KEY, SPEC, lit, optimum
from safetensors.torch import save_file

from bench.arsenal.record import read
from bench.figures import tightness as module
from bench.figures.__main__ import main
from bench.figures.record import Tightness
from bench.figures.tightness import Asked, Subject, alone, best_found, row
from bench.harness.proof import ProofViolatedError
from bench.materials.networks import build, mlp
from bench.proof.bounds import Bounds, proved_to
from defenses.gate import OPEN, STEEP

ASKED = Asked("planted", (), targets=2, passes=100, seed=0)


@pytest.mark.parametrize("k", [0, 1, 2, 5, 8, 12])
def test_bounds_and_attacks_meet_the_optimum_of_a_linear_network(linear, k):
    found = row(k, KEY, Subject(linear, SPEC, None), ASKED)
    assert found.k == k
    assert found.interval == pytest.approx(optimum(k), abs=5e-5)
    assert found.linear == pytest.approx(optimum(k), abs=5e-5)
    assert found.found == pytest.approx(optimum(k), abs=1e-4)
    assert all(f <= bound for f, bound in zip(found.found, found.linear, strict=True))
    assert set(found.by) <= ({*module.ATTACKS} if k else {"blank"})


@pytest.mark.parametrize("k", [1, 4, 5])
def test_a_gate_alone_is_proved_and_found_to_be_what_it_counts(counting, k):
    subject = alone(counting, SPEC)
    answer = 1 / (1 + math.exp(-(OPEN - STEEP * (5 - k))))
    found = row(k, KEY, subject, ASKED)
    assert found.linear == pytest.approx((answer,), abs=1e-4)
    assert found.found == pytest.approx((answer,), abs=1e-4)
    assert proved_to(subject.network, subject.spec, (0.9,)) == 4


def attack(pixels):
    """Lights the first pixels."""
    return lambda classifier, targets, **words: lit(pixels).expand(len(targets), -1, -1, -1)


def test_an_image_with_too_many_pixels_does_not_count(linear, monkeypatch):
    monkeypatch.setattr(module, "ATTACKS", {"five": attack(5)})
    subject = Subject(linear, SPEC, None)
    found, by = best_found(subject, 4, ASKED)
    assert (found.tolist(), by) == (pytest.approx(optimum(0)), ("blank", "blank"))
    found, by = best_found(subject, 5, ASKED)
    assert (found.tolist(), by) == (pytest.approx([optimum(5)[0], optimum(0)[1]]), ("five", "blank"))


def test_an_attack_above_the_bound_stops_the_run(linear, monkeypatch):
    low = Bounds((5,), torch.tensor([[optimum(5)[0] - 1e-3, 1]], dtype=torch.float64))
    monkeypatch.setattr(module, "bounds", lambda *words: low)
    monkeypatch.setattr(module, "ATTACKS", {"five": attack(5)})
    with pytest.raises(ProofViolatedError, match=r"five found probability 0\.8807.* of class 0 with at most 5 lit"):
        row(5, KEY, Subject(linear, SPEC, None), ASKED)


@pytest.fixture
def planted_training(monkeypatch, counting):
    """No training, no attacks; -> the (outputs, k) that were measured, and what interrupts."""
    measured, stop = [], []

    def found(subject, k, asked):
        classes = subject.spec.real_classes
        if (classes, k) in stop:
            raise KeyboardInterrupt
        measured.append((classes, k))
        return torch.zeros(classes), ("blank",) * classes

    monkeypatch.setattr(module, "best_found", found)
    monkeypatch.setattr(module, "UNDEFENDED", ("mlp",))
    monkeypatch.setattr(module, "trained", lambda name, data, seed, cache: build(mlp, data.spec, 10, 0).eval())
    for gate in ("trained_gate", "trained_rival"):
        monkeypatch.setattr(module, gate, lambda data, k, seed: build(mlp, data.spec, 1, 0).eval())
    return measured, stop


def test_a_killed_command_goes_on_and_given_weights_join_the_others(planted_training, tmp_path):
    measured, stop = planted_training
    command = ["tightness", "--k", "1", "--k", "2", "--into", str(tmp_path), "--run-root", str(tmp_path)]
    stop.append((1, 1))
    with pytest.raises(KeyboardInterrupt):
        main(command)
    stop.clear()
    assert main(command) == 0
    assert measured == [(10, 1), (10, 2), *[(1, 1), (1, 2)] * 2]
    network = build(mlp, module.load("digits", root=Path(), seed=0, allow_download=False).spec, 20, 1)
    save_file(network.state_dict(), tmp_path / "fake.safetensors")
    given = ["--weights", str(tmp_path / "fake.safetensors"), "--network", "mlp", "--label", "mine"]
    assert main([*command, *given]) == 0
    assert measured[6:] == [(10, 1), (10, 2)]
    assert main(command) == 0
    assert len(measured) == 8
    stored = read(tmp_path / "figures" / "tightness-digits.json", Tightness)
    assert [list(network.rows) for network in stored.networks.values()] == [["1", "2"]] * 4
    assert stored.networks["mine"].command.endswith("--network mlp --label mine --k 1 --k 2")
    assert "### mine" in (tmp_path / "FIGURES.md").read_text()


def test_a_network_that_can_not_be_read_is_refused_by_its_layer(planted_training, monkeypatch, tmp_path, capsys):
    def gelu(name, data, seed, cache):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.GELU(), torch.nn.Linear(64, 10)).eval()

    monkeypatch.setattr(module, "trained", gelu)
    assert main(["tightness", "--k", "1", "--into", str(tmp_path), "--run-root", str(tmp_path)]) == 2
    assert "error: no proof: GELU is not supported\n" in capsys.readouterr().err


def test_other_settings_never_share_a_file(planted_training, tmp_path, capsys):
    where = ["--k", "1", "--into", str(tmp_path), "--run-root", str(tmp_path)]
    assert main(["tightness", *where]) == 0
    assert main(["tightness", "--passes", "50", *where]) == 2
    assert "other settings (passes)" in capsys.readouterr().err
