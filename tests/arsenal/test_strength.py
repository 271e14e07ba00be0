"""The fewest pixels, on a linear network whose optimum is known; what is stored is not measured again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from attacks.greedy_saliency import greedy_saliency
from attacks.sigma_zero import sigma_zero
from bench.arsenal import ensemble, sparsest, strength
from bench.arsenal.__main__ import main
from bench.arsenal.record import Strength, read
from bench.arsenal.sources import sources
from bench.errors import BadInputError
from bench.types import ImageSpec, lit_pixels

SPEC = ImageSpec((1, 4, 4), 4, ("a", "b"))
TARGETS = torch.tensor([0, 1, 0, 1])
OPTIMUM = (2, 3, 2, 3)


class Planted(nn.Module):
    """Class 0 owns pixels 0 to 7, two of which suffice for p = 0.9; class 1 the others, three of which do."""

    def __init__(self):
        super().__init__()
        gains = torch.zeros(2, 16)
        gains[0, :8], gains[1, 8:] = math.log(9) / 1.5, math.log(9) / 2.5
        self.gains = nn.Parameter(gains)

    def forward(self, images):
        return images.flatten(1) @ self.gains.T


def everything(calls=None):
    """An attack that lights all of the target's own pixels and looks once."""

    def attack(classifier, targets, *, threat, budget, generator, start=None, mask=None):
        if calls is not None:
            calls.append((len(targets), threat.k, budget.passes))
        images = torch.zeros(len(targets), 16)
        for row, target in enumerate(targets.tolist()):
            images[row, 8 * target : 8 * target + 8] = 1
        images = images.view(-1, *SPEC.shape)
        classifier(images)
        return images

    return attack


def test_minimisers_reach_the_planted_optimum():
    found = sparsest.to_the_end(sigma_zero, Planted(), SPEC, TARGETS, p=0.9, passes=400, seed=0)
    assert found.pixels == OPTIMUM
    assert 0 < found.passes <= 400 * 4


def test_others_are_asked_for_fewer_until_they_reach_it():
    found = sparsest.ever_fewer(greedy_saliency, Planted(), SPEC, TARGETS, p=0.9, k=16, passes=400, seed=0)
    assert found.pixels == OPTIMUM
    assert 0 < found.passes <= 400 * 4


def test_each_round_asks_for_one_fewer_than_was_found():
    calls = []
    sparsest.ever_fewer(everything(calls), Planted(), SPEC, TARGETS, p=0.9, k=10, passes=400, seed=0)
    assert calls[0] == (4, 10, 80)
    # two rows at each of the two optima, asked for one fewer, in every further round
    assert calls[1:] == [(2, 1, 80), (2, 2, 80)] * (sparsest.ROUNDS - 1)


def test_a_peer_is_counted_as_it_is_and_pruned():
    raw, thin = sparsest.as_given(everything(), Planted(), SPEC, TARGETS, p=0.9, passes=400, seed=0)
    assert raw.pixels == (8, 8, 8, 8)
    assert raw.passes == 4
    assert thin.pixels == OPTIMUM
    assert 0 < thin.passes <= sparsest.PRUNING * 4


def test_only_rounded_confident_images_count():
    images = torch.zeros(4, 16)
    images[0, :2] = 1  # sure
    images[1, 8:10] = 1  # one too few
    images[2, :3] = torch.tensor([1, 1, 0.1])  # the third rounds to 0
    images[3, 8:11] = torch.tensor([1, 1, 0.3])  # the third rounds to a quarter: too little
    images = images.view(-1, *SPEC.shape)
    assert sparsest.counted(Planted(), SPEC, images, TARGETS, 0.9) == (2, None, 2, None)
    with pytest.raises(ValueError, match="expected"):
        sparsest.counted(Planted(), SPEC, images[:2], TARGETS, 0.9)


def test_the_ensemble_is_every_fixture_and_the_unaided_are_given_nothing():
    every, unaided = ensemble.ensemble(), ensemble.unaided()
    assert {"sigma_zero", "l1_sparse", "ood_aware", "transfer", "from_real"} <= set(every)
    assert set(every) - set(unaided) == {"ood_aware", "transfer", "from_real"}
    assert every["sigma_zero"] is sigma_zero


def test_a_hash_of_sources_follows_imports_and_nothing_else(monkeypatch):
    paths = set()
    monkeypatch.setattr("bench.arsenal.sources.Path.read_bytes", lambda path: paths.add(path.stem) or b"")
    sources.__wrapped__("attacks.sigma_zero")
    assert {"sigma_zero", "prune", "search", "types", "verify"} <= paths
    assert not {"fmn", "greedy_saliency", "session", "page"} & paths
    paths.clear()
    sources.__wrapped__("attacks.fixtures")  # imports inside functions count
    assert {"fixtures", "fmn", "greedy_saliency"} <= paths


ARGUMENTS = ("strength", "--dataset", "digits", "--network", "mlp", "--targets", "10", "--passes", "60")


@pytest.fixture
def few(monkeypatch):
    """Two attacks of ours, and peers of which none is installed."""
    chosen = {"greedy_saliency": greedy_saliency, "sigma_zero": sigma_zero}
    monkeypatch.setattr(strength, "unaided", lambda: chosen)
    monkeypatch.setattr(strength, "PEERS", ("foolbox:A", "art:B"))
    monkeypatch.setattr(strength, "installed", lambda peer: None)
    made = []
    cell = strength.cell
    monkeypatch.setattr(strength, "cell", lambda bench, name, *rest: made.append(name) or cell(bench, name, *rest))
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Where the one network that is trained here is kept."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(few, tmp_path, runs):
    """The command, with a few attacks, into the test's own folder -> its exit status."""
    return lambda *more: main([*ARGUMENTS, "--into", str(tmp_path), "--run-root", str(runs), *more])


def test_a_stored_cell_is_not_measured_again_and_a_lost_one_is(few, run, tmp_path, capsys):
    assert run() == 0
    assert few == ["greedy_saliency", "sigma_zero", "foolbox:A", "art:B"]
    path = tmp_path / "strength" / "strength-digits.json"
    first = read(path, Strength)
    assert first.networks["mlp"].accuracy > 0.9
    assert first.networks["mlp"].cells["foolbox:A"].problem == "not installed"
    assert "| `sigma_zero` | minimiser | 10/10 |" in (tmp_path / "STRENGTH.md").read_text()
    few.clear()
    assert run() == 0
    assert few == ["foolbox:A", "art:B"]  # what could not run is tried again, what did is not
    text = path.read_text()
    path.write_text(text.replace(first.networks["mlp"].cells["sigma_zero"].key, "0" * 64))  # of other sources
    few.clear()
    assert run() == 0
    assert few == ["sigma_zero", "foolbox:A", "art:B"]
    again = read(path, Strength).networks["mlp"].cells
    assert {n: c.pixels for n, c in again.items()} == {n: c.pixels for n, c in first.networks["mlp"].cells.items()}
    assert again["sigma_zero"].passes == first.networks["mlp"].cells["sigma_zero"].passes


def test_a_killed_command_has_stored_what_it_measured(few, run, tmp_path, monkeypatch):
    def killed(*words, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(sparsest, "to_the_end", killed)
    with pytest.raises(KeyboardInterrupt):
        run()
    stored = read(tmp_path / "strength" / "strength-digits.json", Strength)
    assert list(stored.networks["mlp"].cells) == ["greedy_saliency"]


def test_a_peer_that_refuses_is_a_row_that_says_why(few, run, tmp_path, monkeypatch):
    def refuses(name):
        raise BadInputError(f"--attack {name}: it does not run here")

    monkeypatch.setattr(strength, "installed", lambda peer: "1.0")
    monkeypatch.setattr(strength.ATTACKS, "load", refuses)
    assert run() == 0
    assert "| `art:B` | --attack art:B: it does not run here |" in (tmp_path / "STRENGTH.md").read_text()


def test_a_peer_is_measured_raw_and_pruned(few, run, tmp_path, monkeypatch):
    def lights_all(classifier, targets, *, threat, budget, generator, start=None, mask=None):
        return sigma_zero(
            classifier, targets, threat=type(threat)(threat.p, 64), budget=budget, generator=generator
        ).clamp(min=1 / 16)

    monkeypatch.setattr(strength, "installed", lambda peer: "1.0")
    monkeypatch.setattr(strength.ATTACKS, "load", lambda name: lights_all)
    assert run() == 0
    cell = read(tmp_path / "strength" / "strength-digits.json", Strength).networks["mlp"].cells["art:B"]
    sure = [(raw, thin) for raw, thin in zip(cell.pixels, cell.pruned, strict=True) if raw is not None]
    assert sure
    assert all(raw == 64 and thin < 64 for raw, thin in sure)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["strength", "--dataset", "digitz"], "digits"),
        (["strength", "--dataset", "digits", "--network", "resnet"], "--network resnet"),
        (["strength", "--dataset", "digits", "--network", "cnn-strides"], "take mlp"),
        (["success", "--dataset", "digits", "--attack", "sigma"], "--attack sigma"),
        (["success", "--budget", "huge"], "--budget huge"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, says, tmp_path, capsys):
    roots = ["--into", str(tmp_path), "--run-root", str(tmp_path / "runs")]
    assert main([*arguments, *roots]) == 2
    said = capsys.readouterr().err
    assert said.startswith("python -m bench.arsenal: error: ")
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "STRENGTH.md").exists()


@pytest.mark.parametrize("more", [["--targets", "0"], ["--passes", "3"], ["--confidence", "1.5"], ["--seed", "-1"]])
def test_values_that_make_no_sense_are_refused(more, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["strength", *more])
    assert stopped.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_other_settings_are_refused_and_fresh_replaces_them(few, run, tmp_path, capsys):
    assert run() == 0
    assert run("--passes", "80") == 2
    assert "other settings (passes)" in capsys.readouterr().err
    assert run("--passes", "80", "--fresh") == 0
    assert read(tmp_path / "strength" / "strength-digits.json", Strength).settings["passes"] == 80


def test_images_of_the_planted_network_are_what_they_are_said_to_be():
    images = torch.zeros(2, 16)
    images[0, :2] = images[1, 8:11] = 1
    probability = Planted()(images.view(-1, *SPEC.shape)).softmax(dim=1)[[0, 1], [0, 1]]
    assert (probability >= 0.9).all()
    assert lit_pixels(images.view(-1, *SPEC.shape)).tolist() == [2, 3]
