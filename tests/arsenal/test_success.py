"""Success on the control of digits, against a run of the harness itself."""

from __future__ import annotations

import pytest

from bench.arsenal import success
from bench.arsenal.__main__ import main
from bench.arsenal.record import Success, read
from bench.harness.gallery import Gallery
from bench.verdict.stats import ratio

ATTACKS = ("l1_sparse", "from_real", "sigma_zero")


def run(root):
    words = ["success", "--dataset", "digits", "--budget", "quick", "--network", "mlp"]
    words += [word for name in ATTACKS for word in ("--attack", name)]
    return main([*words, "--into", str(root), "--run-root", str(root / "runs")])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("success")
    assert run(root) == 0
    return root


def test_rows_are_what_criterion_0_measures(root):
    record = read(root / "strength" / "success-digits.json", Success)
    settings = success.settings("digits", "mlp", ATTACKS, "quick", 0, root, False, root / "runs")
    session = success.session_of(settings)
    # the same run: its data root aside, which decides no figure
    measured = session.measurement(0).per_attack
    assert set(record.rows) == set(ATTACKS)
    for name, row in record.rows.items():
        assert row.reached == ratio(measured[name].total.successes, measured[name].total.n)
        assert row.healthy is measured[name].healthy
        assert row.outcomes == measured[name].total.outcomes
        assert row.passes == session.gallery.made("control", name).passes > 0
        assert len(row.fooled) == row.outcomes["fooling"]


def test_the_cascade_starts_with_the_cheapest_and_goes_on_with_what_stands(root):
    record = read(root / "strength" / "success-digits.json", Success)
    chain = [(name, row) for name, row in record.rows.items() if row.chain]
    assert [name for name, _ in chain] == sorted(
        (n for n in ATTACKS if n != "from_real"),
        key=lambda n: record.rows[n].passes / record.rows[n].reached.successes,
    )
    assert list(record.rows)[-1] == "from_real"
    assert record.rows["from_real"].chain is None
    standing = 60
    for _, row in chain:
        assert row.chain.targets == standing
        assert len(row.chain.fooled) <= standing
        standing -= len(row.chain.fooled)
    first = chain[0][1]
    assert first.chain.passes == first.passes
    assert first.chain.fooled == first.fooled  # the same draws


def test_a_second_command_makes_no_image_again(root, monkeypatch):
    def again(self, *words):
        raise AssertionError("made again")

    before = (root / "strength" / "success-digits.json").read_text()
    monkeypatch.setattr(Gallery, "_make", again)
    assert run(root) == 0
    assert (root / "strength" / "success-digits.json").read_text() == before


def test_the_page_has_a_row_for_each(root):
    page = (root / "STRENGTH.md").read_text()
    for name in ATTACKS:
        assert f"| `{name}` | " in page
    assert "python -m bench.arsenal success --dataset digits --network mlp --budget quick --seed 0" in page
