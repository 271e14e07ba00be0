"""The main job, end to end, as a user runs it. One whole run is shared; the others are compared with it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bench.record import Certificate, HumanRecord, read_certificate
from reports.identity import identity
from tests.harness.runs import ROOT, SMALL, figures, run, start
from tests.reports import sample

OWN_ATTACKS = """
import torch
from attacks import attack_fixture

def everything_lit(classifier, targets, *, threat, budget, generator, start=None, mask=None):
    return torch.ones(len(targets), *classifier.spec.shape)

@attack_fixture
def own_fixture():
    return everything_lit
"""


OWN_NETWORKS = '''
import torch
from torch import nn

class BreaksWhenSparse(nn.Sequential):
    """NaN for every image with at most 14 lit pixels; a digit has 16."""

    def forward(self, images):
        logits = super().forward(images)
        sparse = (images != 0).any(1).flatten(1).sum(1, keepdim=True) <= 14
        return torch.where(sparse & (images.sum((1, 2, 3)) > 0)[:, None], torch.full_like(logits, float("nan")), logits)

def network(spec, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels * spec.shape[0], 64), nn.ReLU(), nn.Linear(64, outputs))

def breaks(spec, outputs):
    return BreaksWhenSparse(nn.Flatten(), nn.Linear(spec.pixels * spec.shape[0], outputs))
'''
OWN_DEFENSE = """
from bench.seeds import derive
from bench.task import Round

def untrained(task, recorder):
    yield Round(0, task.new_network(task.spec.real_classes, derive(task.seed, "own")))
"""


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
    status, output = run(*SMALL, f"--run-root={root}", *arguments, **where)
    return Done(status, output, root)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Done:
    """`fakeclass_bare` from an empty run root, in one process."""
    root = tmp_path_factory.mktemp("whole")
    return finished(root, "--defense=fakeclass_bare", f"--junitxml={root / 'report.xml'}")


def test_a_whole_run_decides_all_eleven_and_names_what_it_wrote(whole):
    certificate = whole.certificate
    assert whole.status == 1  # a quick budget never certifies
    assert [criterion.id for criterion in certificate.criteria] == list(range(11))
    assert not certificate.certified
    assert certificate.scope == "process"
    assert certificate.criteria[8].verdict in ("fail", "inconclusive")
    assert f"certificate: {whole.folder / 'certificate.json'}" in whole.output
    assert f"leaderboard: {whole.root / 'site' / 'index.html'}" in whole.output
    assert (whole.root / "site" / "index.html").exists()


def test_every_attack_is_in_the_certificate_and_its_row_has_all_outcomes(whole):
    certificate = whole.certificate
    for criterion in (0, 1, 6, 7, 8):
        rows = {row.attack: row for row in certificate.criteria[criterion].per_attack}
        assert set(rows) == set(certificate.attacks)
    rows = certificate.criteria[8].per_attack
    assert rows[0].ratio.n == 60
    for row, after in pairwise(rows):
        assert after.ratio.n == row.ratio.n - row.ratio.successes  # a cascade: only what still stands goes on
        assert sum(row.outcomes.values()) == row.ratio.n


def test_the_sentence_of_a_failing_verdict_is_what_its_test_says(whole):
    tree = ElementTree.parse(whole.root / "report.xml")
    said = {case.get("name"): case.find("failure") for case in tree.iter("testcase")}
    failing = [c for c in whole.certificate.criteria if c.verdict in ("fail", "inconclusive")]
    messages = [failure.get("message") for failure in said.values() if failure is not None]
    for criterion in failing:
        assert any(criterion.reason in message for message in messages), criterion.reason


def test_training_logs_every_round_epoch_and_batch(whole):
    lines = [json.loads(line) for line in (whole.folder / "metrics.jsonl").read_text().splitlines()]
    kinds = Counter(line["kind"] for line in lines)
    assert kinds["finished"] == len(whole.certificate.rounds)
    assert kinds["batch"] > kinds["epoch"] > 0
    epochs = [line for line in lines if line["kind"] == "epoch" and line["round"] == 2]
    for criterion in ("2", "3", "4", "5"):
        assert f"{criterion}/detection" in epochs[-1]
    for criterion in ("9", "10"):
        assert f"{criterion}/class 0/accuracy" in epochs[-1]
    batches = [line for line in lines if line["kind"] == "batch" and line["round"] == 2]
    for figure in ("loss", "probability"):
        assert any(re.fullmatch(rf"fake/\d/{figure}", name) for line in batches for name in line)
        assert any(re.fullmatch(rf"real/\d/{figure}", name) for line in batches for name in line)
    rounds = [line for line in lines if line["kind"] == "round" and line["round"] == 1]
    assert any("train/3/sparse" in line for line in rounds)
    assert any("train/outcome/fooling" in line for line in rounds)
    assert list((whole.folder / "tensorboard").glob("events*"))


def test_no_stored_tensor_lacks_its_hash(whole):
    stored = {str(p.relative_to(whole.folder)) for p in whole.folder.rglob("*.safetensors")}
    assert set(whole.certificate.hashes) == stored


def test_the_same_seed_in_another_empty_root_gives_the_same_certificate(whole, tmp_path):
    assert finished(tmp_path, "--defense=fakeclass_bare").figures == whole.figures


def test_a_killed_run_resumes_and_ends_with_the_same_figures(whole, tmp_path):
    process = start(*SMALL, f"--run-root={tmp_path}", "--defense=fakeclass_bare")
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("digits-*/rounds/002/train.safetensors.sha256")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = tmp_path.glob("digits-*")
    assert not (folder / "rounds/002/round.json").exists()
    first = (folder / "rounds/001/network.safetensors").stat().st_mtime_ns
    resumed = finished(tmp_path, "--defense=fakeclass_bare")
    assert resumed.figures == whole.figures
    assert (folder / "rounds/001/network.safetensors").stat().st_mtime_ns == first
    assert (folder / "metrics.jsonl").read_bytes() == (whole.folder / "metrics.jsonl").read_bytes()


def test_two_workers_train_once_and_give_the_same_verdicts(whole, tmp_path):
    parallel = finished(tmp_path, "--defense=fakeclass_bare", "-n", "2")
    assert parallel.status == whole.status
    assert parallel.figures == whole.figures
    assert (parallel.folder / "metrics.jsonl").read_bytes() == (whole.folder / "metrics.jsonl").read_bytes()
    assert Counter(re.findall(r"\d+ (passed|failed|skipped)", parallel.output)) == Counter(
        re.findall(r"\d+ (passed|failed|skipped)", whole.output)
    )


def test_a_second_run_measures_nothing_again(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*.safetensors")}
    again = finished(whole.root, "--defense=fakeclass_bare")
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*.safetensors")} == before
    assert again.figures == whole.figures


def test_a_second_run_keeps_what_people_said_unless_a_figure_changes(whole, tmp_path):
    root = shutil.copytree(whole.root, tmp_path / "runs")
    path = next(root.glob("digits-*")) / "certificate.json"
    human = HumanRecord.model_validate(sample.human(identity(whole.certificate)))
    seen = whole.certificate.model_copy(update={"human": human})
    path.write_text(seen.model_dump_json())
    assert finished(root, "--defense=fakeclass_bare").certificate == seen
    path.write_text(seen.model_copy(update={"score": 0.5}).model_dump_json())
    assert finished(root, "--defense=fakeclass_bare").certificate.human is None


def test_fresh_trains_and_measures_again_and_finds_the_same(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.root.rglob("*.safetensors")}
    again = finished(whole.root, "--defense=fakeclass_bare", "--fresh")
    after = {path: path.stat().st_mtime_ns for path in whole.root.rglob("*.safetensors")}
    assert set(after) == set(before)
    assert all(after[path] > before[path] for path in before)
    assert again.figures == whole.figures


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["-k", "sparse"], 1),
        (["-x"], None),
        ([f"--ignore={ROOT / 'suites' / 'test_10_real_test.py'}"], 10),
        (["--collect-only"], None),
    ],
)
def test_a_partial_run_certifies_nothing(whole, tmp_path, arguments, count):
    partial = finished(tmp_path, "--defense=undefended", "--attack=l1_sparse", *arguments)
    assert not (partial.folder / "certificate.json").exists()
    if arguments == ["--collect-only"]:
        assert partial.status == 0
        assert "test_08_final_network.py" in partial.output
        assert not list(tmp_path.rglob("*.safetensors"))
        return
    assert re.search(rf"partial: {count if count else r'[1-9]'} of 11, nothing certified", partial.output)


def test_undefended_fails_criterion_8_at_scope_model_and_says_why(tmp_path):
    done = finished(tmp_path, "--defense=undefended")
    certificate = done.certificate
    assert done.status == 1
    assert certificate.scope == "model"
    verdicts = [criterion.verdict for criterion in certificate.criteria]
    assert verdicts[8] == "fail"
    assert verdicts[2:6] == ["not_applicable"] * 4
    assert "targets (class and seed) fooled" in certificate.criteria[8].reason
    assert certificate.fooled_from is not None
    assert certificate.fooled_from <= 24


def test_attacks_from_outside_the_clone_are_in_the_ids_the_certificate_and_the_page(tmp_path):
    (tmp_path / "own_attacks.py").write_text(OWN_ATTACKS)
    names = ["own_fixture", "own_attacks:everything_lit", "l1_sparse"]
    done = finished(
        tmp_path / "runs",
        "--defense=undefended",
        *("-p", "own_attacks", "-v"),
        *(f"--attack={name}" for name in names),
        cwd=tmp_path,
        path=tmp_path,
    )
    certificate = done.certificate
    assert list(certificate.attacks) == names
    for name in names:
        for suite in ("00_sparse", "01_ood", "06_other_network", "07_other_process", "08_final_network"):
            assert re.search(rf"test_{suite}\.py::\w+\[.*{re.escape(name)}.*\]", done.output), (suite, name)
        for criterion in (0, 1, 6, 7, 8):
            assert name in [row.attack for row in certificate.criteria[criterion].per_attack]
    # All lit is dense, never sparse: the weak attack loses its own row, and no criterion by it.
    rows = {row.attack: row for row in certificate.criteria[0].per_attack}
    assert rows["own_fixture"].healthy is False
    assert rows["own_fixture"].verdict == "fail"
    assert certificate.criteria[0].verdict == "pass"
    rows = {row.attack: row for row in certificate.criteria[8].per_attack}
    assert rows["own_fixture"].verdict == "not_applicable"  # l1_sparse had fooled every target
    pages = "".join(path.read_text() for path in (tmp_path / "runs" / "site").rglob("*.html"))
    assert all(name in pages for name in names)
    assert (
        "lacks the required attack masked" in certificate.criteria[8].reason
        or certificate.criteria[8].verdict == "fail"
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_is_certified_at_scope_model_without_training(whole, tmp_path, suffix):
    weights = load_file(whole.folder / "rounds/002/network.safetensors")
    path = tmp_path / f"net{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    done = finished(tmp_path / "runs", f"--checkpoint={path}", "--scope=model", "--attack=l1_sparse")
    certificate = done.certificate
    assert (certificate.scope, certificate.checkpoint) == ("model", path.name)
    assert [c.verdict for c in certificate.criteria[2:6]] == ["not_applicable"] * 4
    assert not list(done.folder.rglob("rounds/*"))
    assert certificate.rounds == ()


def test_ones_own_network_and_defense(tmp_path):
    (tmp_path / "own_networks.py").write_text(OWN_NETWORKS)
    (tmp_path / "own_defense.py").write_text(OWN_DEFENSE)
    done = finished(
        tmp_path / "runs",
        *("--network=own_networks:network", "--defense=own_defense:untrained", "--attack=l1_sparse"),
        cwd=tmp_path,
        path=tmp_path,
    )
    assert done.certificate.defense == "own_defense:untrained"
    assert done.certificate.criteria[10].verdict == "fail"  # it was never trained


def test_nan_that_appears_late_makes_what_it_touches_inconclusive(tmp_path):
    (tmp_path / "own_networks.py").write_text(OWN_NETWORKS)
    done = finished(
        tmp_path / "runs",
        *("--network=own_networks:breaks", "--defense=undefended", "--attack=l1_sparse", "--pixels=14"),
        cwd=tmp_path,
        path=tmp_path,
    )
    assert done.status == 1
    assert "Traceback" not in done.output
    certificate = done.certificate
    assert certificate.criteria[8].verdict == "inconclusive"
    assert "NaN or infinite" in certificate.criteria[8].reason
    assert certificate.criteria[10].verdict != "inconclusive"


def test_a_folder_of_colour_images_is_certified_too(tmp_path):
    draw = torch.Generator().manual_seed(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(60):
            values = torch.rand(9, 7, 3, generator=draw) * 80 + 150 * label
            Image.fromarray(values.byte().numpy()).save(tmp_path / "own" / name / f"{index}.png")
    status, output = run(
        f"--run-root={tmp_path / 'runs'}",
        *(f"--dataset=folder:{tmp_path / 'own'}", "--budget=quick", "--max-rounds=1", "--attack=l1_sparse"),
    )
    (folder,) = tmp_path.glob("runs/folder*")
    certificate = read_certificate(folder / "certificate.json")
    assert status == 1, output
    assert certificate.image_shape == (3, 9, 7)
    assert certificate.class_names == ("dark", "light")
    assert certificate.threat.k == int(0.38 * 63)
