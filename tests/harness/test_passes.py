"""More passes than the budget has, to see whether a verdict stands; fewer are refused."""

from __future__ import annotations

from reports.entry import read_checked
from tests.harness import runs


def test_more_passes_are_for_measuring_alone(tmp_path):
    usual, more = (runs.settings(tmp_path, passes=passes) for passes in (None, 6_000))
    assert (usual.attack.passes, more.attack.passes) == (600, 6_000)
    assert more.attack.restarts == usual.attack.restarts
    assert more.plan.training_passes == usual.plan.training_passes


def test_fewer_are_refused(tmp_path):
    status, output = runs.run("--passes=1999", f"--run-root={tmp_path}")
    assert status == 4
    assert "--passes 1999; expected at least the 2000 of --budget standard" in output


def test_a_run_spends_them_and_says_so(trained_root):
    _, output = runs.run(*runs.UNDEFENDED, f"--run-root={trained_root}", "--passes=900", "-n0", "-q")
    (path,) = trained_root.glob("digits-undefended-*/certificate.json")
    certificate = read_checked(path)
    assert certificate.budget.passes == 900, output
    assert "--passes=900" in certificate.environment.command
    assert str(trained_root) not in certificate.environment.command
