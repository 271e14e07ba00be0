"""The main job, end to end, as a user runs it. One whole run is shared; the others are compared with it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.record import HumanRecord
from reports.identity import identity
from tests.harness.runs import SMALL, Done, finished, start
from tests.reports import sample


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
    assert f"\n{whole.certificate.summary}\n" in whole.output
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


def test_a_killed_run_resumes_and_ends_with_the_same_figures(whole, trained_root):
    process = start(*SMALL, f"--run-root={trained_root}", "--defense=fakeclass_bare")
    deadline = time.monotonic() + 300
    while not list(trained_root.glob("digits-*/rounds/002/train.safetensors.sha256")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = trained_root.glob("digits-*")
    assert not (folder / "rounds/002/round.json").exists()
    first = (folder / "rounds/001/network.safetensors").stat().st_mtime_ns
    resumed = finished(trained_root, "--defense=fakeclass_bare")
    assert resumed.figures == whole.figures
    assert (folder / "rounds/001/network.safetensors").stat().st_mtime_ns == first
    assert (folder / "metrics.jsonl").read_bytes() == (whole.folder / "metrics.jsonl").read_bytes()


def test_a_second_run_measures_nothing_again_and_keeps_what_people_said_unless_a_figure_changes(whole, tmp_path):
    root = shutil.copytree(whole.root, tmp_path / "runs")
    path = next(root.glob("digits-*")) / "certificate.json"
    human = HumanRecord.model_validate(sample.human(identity(whole.certificate)))
    seen = whole.certificate.model_copy(update={"human": human})
    path.write_text(seen.model_dump_json())
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.safetensors")}
    assert finished(root, "--defense=fakeclass_bare").certificate == seen
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.safetensors")} == before
    path.write_text(seen.model_copy(update={"score": 0.5}).model_dump_json())
    again = finished(root, "--defense=fakeclass_bare")
    assert again.certificate.human is None
    assert again.figures == whole.figures


def test_two_workers_told_to_start_afresh_train_once_and_find_the_same(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.root.rglob("*.safetensors")}
    logged = (whole.folder / "metrics.jsonl").read_bytes()
    figures = whole.figures
    parallel = finished(whole.root, "--defense=fakeclass_bare", "--fresh", "-n", "2")
    after = {path: path.stat().st_mtime_ns for path in whole.root.rglob("*.safetensors")}
    assert set(after) == set(before)
    assert all(after[path] > before[path] for path in before)
    assert parallel.status == whole.status
    assert parallel.figures == figures
    assert (parallel.folder / "metrics.jsonl").read_bytes() == logged
    assert Counter(re.findall(r"\d+ (passed|failed|skipped)", parallel.output)) == Counter(
        re.findall(r"\d+ (passed|failed|skipped)", whole.output)
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_is_certified_at_scope_model_without_training(whole, trained_root, tmp_path, suffix):
    weights = load_file(whole.folder / "rounds/002/network.safetensors")
    path = tmp_path / f"net{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    done = finished(trained_root, f"--checkpoint={path}", "--scope=model", "--attack=l1_sparse")
    certificate = done.certificate
    assert (certificate.scope, certificate.checkpoint, certificate.defense) == ("model", path.name, None)
    assert [c.verdict for c in certificate.criteria[2:6]] == ["not_applicable"] * 4
    assert not list(done.folder.rglob("rounds/*"))
    assert certificate.rounds == ()
