"""The figures of a gate, on one that counts to five and a classifier that always says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from planted_figures import SPEC, lit
from torch import nn

from bench.arsenal.record import read
from bench.figures import curve, networks, rival
from bench.figures.__main__ import main
from bench.figures.networks import Certain
from bench.figures.record import Curve
from bench.harness.proof import ProofViolatedError
from bench.materials.data import load
from bench.materials.gate import Gated
from bench.materials.networks import build, mlp
from bench.materials.split import Split
from bench.proof.bounds import proved_to
from bench.seeds import derive
from bench.task import Task
from bench.types import Budget, ThreatModel
from defenses import sparse_gate as defense
from defenses.gate import gated

SHUT_BY_FIVE = 4  # the most lit pixels that the counting gate shuts on


class Sure(nn.Module):
    """Class 0 of every image, with probability 0.993."""

    def forward(self, images):
        return torch.tensor([[5.0, 0.0]]).repeat(len(images), 1)


@pytest.fixture(scope="module")
def digits():
    return load("digits", root=Path(), seed=0, allow_download=False)


def test_the_figures_of_a_planted_gate_are_the_ones_on_paper(counting):
    test = Split(lit(3, 4, 5, 8), torch.tensor([0, 0, 0, 1]))
    odd = lit(3, 6, 4, 2)  # noise, noise, shuffled, shuffled
    found = curve.gate_figures(Sure(), counting, SPEC, SHUT_BY_FIVE, test, odd, 2.5)
    assert found.model_dump() == {
        "proved": SHUT_BY_FIVE,
        "open": 0.5,
        "above": 0.5,
        "accuracy": 0.25,
        "confident": 0.25,
        "noise": 0.5,
        "shuffled": 1.0,
        "seconds": 2.5,
    }


def test_an_image_at_the_bound_is_not_above_it(counting):
    test = Split(lit(3, 4, 5, 5), torch.tensor([0, 0, 0, 0]))
    assert curve.gate_figures(Sure(), counting, SPEC, 5, test, lit(1, 1, 1, 1), 0).above == 0


def test_a_real_image_that_contradicts_the_proof_stops_the_run(counting):
    network = Gated(Sure(), counting)
    curve.check_held(network, SPEC, lit(3, 4, 5), 4)
    with pytest.raises(ProofViolatedError, match=r"at most 5 lit pixels should reach 0\.9"):
        curve.check_held(network, SPEC, lit(3, 4, 5), 5)


def test_the_ceiling_counts_what_does_not_lie_in_the_set_itself(counting, monkeypatch, digits):
    monkeypatch.setattr(curve, "trained_gate", lambda data, k, seed: counting)
    monkeypatch.setattr(curve, "trained_rival", lambda data, k, seed: counting)
    test = Split(lit(5, 6, 7, 8), torch.tensor([0, 0, 1, 0]))
    data = type("Data", (), {"test": test, "spec": SPEC})
    row = curve.row(5, "0" * 64, Sure(), data, 0)
    assert (row.ceiling, row.ceiling_confident) == (0.75, 0.5)


def test_a_rival_is_proved_even_if_its_training_is_cut_short(digits, monkeypatch):
    monkeypatch.setattr(rival, "STEPS", 3)
    gate = rival.trained_rival(digits, 15, 0)
    assert proved_to(Gated(Certain(10), gate), digits.spec, (0.9,) * 10) >= 15
    assert not any(weight.requires_grad for weight in gate.parameters())


def test_the_classifier_is_the_one_that_sparse_gate_trains(digits, monkeypatch, tmp_path):
    monkeypatch.setattr(defense, "default_epochs", lambda images: 2)
    monkeypatch.setattr(defense, "shut", lambda network, task: None)
    ours = networks.trained("mlp", digits, 3, tmp_path)
    task = Task(
        spec=digits.spec,
        train=digits.a_train,
        validation=digits.a_val,
        judge=None,
        new_network=lambda outputs, seed: build(gated(mlp), digits.spec, outputs, seed),
        threat=ThreatModel(0.9, 24),
        images=0,
        budget=Budget(0),
        max_rounds=1,
        seed=3,
    )
    recorder = type("Recorder", (), {"batch": lambda *_: None, "epoch": lambda *_: None})()
    (finished,) = defense.sparse_gate(task, recorder)
    theirs = finished.network.classifier
    start = build(mlp, digits.spec, 10, derive(3, "sparse_gate"))
    for mine, other, first in zip(ours.parameters(), theirs.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=2e-3, rtol=1e-2)
        assert (mine - first).abs().max() > 1e-2


@pytest.fixture
def planted_training(monkeypatch, counting):
    """Gates and classifier without training; -> the ks that gates were asked for, and what interrupts."""
    asked, stop = [], []

    def gate(data, k, seed):
        if k in stop:
            raise KeyboardInterrupt
        asked.append(k)
        return build(rival.plain_gate, data.spec, 1, seed).eval()

    monkeypatch.setattr(curve, "trained_gate", gate)
    monkeypatch.setattr(curve, "trained_rival", gate)
    seeds = [0]
    monkeypatch.setattr(curve, "trained", lambda name, data, seed, cache: build(mlp, data.spec, 10, seeds[-1]).eval())
    return asked, stop, seeds


def test_a_killed_command_goes_on_where_it_was(planted_training, tmp_path):
    asked, stop, seeds = planted_training
    command = ["curve", "--k", "15", "--k", "5", "--into", str(tmp_path), "--run-root", str(tmp_path)]
    stop.append(15)
    with pytest.raises(KeyboardInterrupt):
        main(command)
    path = tmp_path / "figures" / "curve-digits-cnn.json"
    assert list(read(path, Curve).rows) == ["5"]
    stop.clear()
    assert main(command) == 0
    assert asked == [5, 5, 15, 15]
    assert main(command) == 0
    assert asked == [5, 5, 15, 15]
    assert "curve --dataset digits --network cnn --seed 0 --k 15 --k 5" in (tmp_path / "FIGURES.md").read_text()
    seeds.append(1)  # another classifier
    assert main(command) == 0
    assert asked == [5, 5, 15, 15] * 2
    assert main([*command, "--fresh"]) == 0
    assert asked == [5, 5, 15, 15] * 3


def test_rows_of_other_ks_stay_while_they_hold(planted_training, tmp_path):
    asked, _, seeds = planted_training
    where = ["--into", str(tmp_path), "--run-root", str(tmp_path)]
    main(["curve", "--k", "5", *where])
    main(["curve", "--k", "15", *where])
    path = tmp_path / "figures" / "curve-digits-cnn.json"
    assert sorted(read(path, Curve).rows) == ["15", "5"]
    seeds.append(1)
    main(["curve", "--k", "15", *where])
    assert sorted(read(path, Curve).rows) == ["15"]
    assert asked == [5, 5, 15, 15, 15, 15]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["curve", "--dataset", "dogits"], "no data set 'dogits'.*did you mean 'digits'"),
        (["curve", "--network", "cmn"], "cmn: unknown network; did you mean 'cnn'"),
        (["curve", "--k", "65"], "--k 65; expected at most 64, the pixels of an image"),
        (["curve", "--data-root", "nowhere", "--dataset", "mnist"], "nowhere"),
        (["tightness", "--weights", "w.pt"], "--weights and --network: expected both or neither"),
        (["tightness", "--label", "mine"], "--label: expected with --weights"),
        (["tightness", "--weights", "w.pt", "--network", "cnn", "--label", "mlp"], "--label mlp: a network that"),
        (["tightness", "--weights", "w.pt", "--network", "cnn"], "no file w.pt; expected a checkpoint"),
    ],
)
def test_bad_input_is_one_line_and_status_two(words, says, tmp_path, capsys):
    assert main([*words, "--into", str(tmp_path), "--run-root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m bench.figures: error: ")
    assert error.count("\n") == 1
    assert re.search(says, error), error


@pytest.mark.parametrize("words", [["--k", "x"], ["--k", "-1"], ["--seed", "1.5"]])
def test_numbers_that_are_none_are_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["curve", *words])
    assert "expected a whole number, at least 0" in capsys.readouterr().err
