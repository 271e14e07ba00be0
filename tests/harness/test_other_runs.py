"""What else a run does: a part of the suites, attacks, networks and images of one's own, NaN."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from PIL import Image

from bench.record import read_certificate
from tests.harness.runs import ROOT, finished, run

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

def breaks(spec, outputs):
    return BreaksWhenSparse(nn.Flatten(), nn.Linear(spec.pixels * spec.shape[0], outputs))
'''
OWN_DEFENSE = """
from bench.seeds import derive
from bench.task import Round

def untrained(task, recorder):
    yield Round(0, task.new_network(task.spec.real_classes, derive(task.seed, "own")))
"""


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["-k", "sparse"], 1),
        (["-x"], None),
        ([f"--ignore={ROOT / 'suites' / 'test_10_real_test.py'}"], 10),
    ],
)
def test_a_partial_run_certifies_nothing(undefended_root, tmp_path, arguments, count):
    """Not even where everything has been measured before."""
    root = shutil.copytree(undefended_root, tmp_path / "runs")
    next(root.glob("digits-*/certificate.json")).unlink()
    partial = finished(root, "--defense=undefended", "--attack=l1_sparse", *arguments)
    assert not (partial.folder / "certificate.json").exists()
    assert re.search(rf"partial: {count if count else r'[1-9]'} of 11, nothing certified", partial.output)


def test_a_run_that_is_interrupted_says_that_it_goes_on(undefended_root, tmp_path):
    root = shutil.copytree(undefended_root, tmp_path / "runs")
    (tmp_path / "stops.py").write_text("def pytest_runtest_teardown(item):\n    raise KeyboardInterrupt\n")
    stopped = finished(root, "--defense=undefended", "--attack=l1_sparse", "-p", "stops", path=tmp_path)
    assert stopped.status == pytest.ExitCode.INTERRUPTED
    assert "nothing certified; the same command, without --fresh, goes on from what is stored" in stopped.output


def test_collecting_trains_nothing(tmp_path):
    collected = finished(tmp_path, "--defense=undefended", "--attack=l1_sparse", "--collect-only")
    assert not (collected.folder / "certificate.json").exists()
    assert collected.status == 0
    assert "test_08_final_network.py" in collected.output
    assert not list(tmp_path.rglob("*.safetensors"))


def test_undefended_fails_criterion_8_at_scope_model_and_says_why(undefended_root):
    (path,) = undefended_root.glob("digits-*/certificate.json")
    certificate = read_certificate(path)
    assert certificate.scope == "model"
    verdicts = [criterion.verdict for criterion in certificate.criteria]
    assert verdicts[8] == "fail"
    assert verdicts[2:6] == ["not_applicable"] * 4
    assert "targets (class and seed) fooled" in certificate.criteria[8].reason
    assert certificate.fooled_from is not None
    assert certificate.fooled_from <= 24


def test_attacks_from_outside_the_clone_are_in_the_ids_the_certificate_and_the_page(trained_root, tmp_path):
    (tmp_path / "own_attacks.py").write_text(OWN_ATTACKS)
    names = ["own_fixture", "own_attacks:everything_lit", "l1_sparse"]
    done = finished(
        trained_root,
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
    pages = "".join(path.read_text() for path in (trained_root / "site").rglob("*.html"))
    assert all(name in pages for name in names)
    assert certificate.criteria[8].verdict == "fail"


def test_nan_that_appears_late_in_ones_own_network_makes_what_it_touches_inconclusive(tmp_path):
    (tmp_path / "own_networks.py").write_text(OWN_NETWORKS)
    (tmp_path / "own_defense.py").write_text(OWN_DEFENSE)
    done = finished(
        tmp_path / "runs",
        *("--network=own_networks:breaks", "--defense=own_defense:untrained", "--attack=l1_sparse", "--pixels=14"),
        cwd=tmp_path,
        path=tmp_path,
    )
    assert done.status == 1
    assert "Traceback" not in done.output
    certificate = done.certificate
    assert (certificate.defense, certificate.network) == ("own_defense:untrained", "own_networks:breaks")
    assert certificate.criteria[8].verdict == "inconclusive"
    assert "NaN or infinite" in certificate.criteria[8].reason
    assert certificate.criteria[10].verdict == "fail"  # it was never trained


def test_a_folder_of_colour_images_is_certified_too(tmp_path):
    draw = torch.Generator().manual_seed(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(60):
            values = torch.rand(6, 5, 3, generator=draw) * 80 + 150 * label
            Image.fromarray(values.byte().numpy()).save(tmp_path / "own" / name / f"{index}.png")
    status, output = run(
        f"--run-root={tmp_path / 'runs'}",
        *(f"--dataset=folder:{tmp_path / 'own'}", "--budget=quick", "--max-rounds=1", "--attack=l1_sparse"),
    )
    (folder,) = tmp_path.glob("runs/folder*")
    certificate = read_certificate(folder / "certificate.json")
    assert status == 1, output
    assert certificate.image_shape == (3, 6, 5)
    assert certificate.class_names == ("dark", "light")
    assert certificate.threat.k == int(0.38 * 30)
