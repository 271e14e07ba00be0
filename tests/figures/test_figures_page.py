"""The page of the proof: every figure under its heading, made without torch, refused where a file is damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.arsenal.record import RecordError, write
from bench.figures.page import FOLDER, PAGE, render, text

ROOT = Path(__file__).resolve().parents[2]


def rows(page: str, first: str) -> list[list[str]]:
    lines = [line[1:-1].split(" | ") for line in page.splitlines() if line.startswith("|")]
    return [cells for line in lines if (cells := [cell.strip() for cell in line])[0] == first]


def test_every_figure_of_a_gate_is_where_its_heading_says(curve):
    ours, plain, beside = rows(text([curve]), "15")
    assert ours == [
        "15", "`sparse_gate`", "16", "91.00%", "92.00%", "99.00%", "93.00%", "94.00%", "98.00%", "95.00%", "96.00%",
        "7.5",
    ]  # fmt: skip
    assert plain[1:5] == ["plain", "15", "91.00%", "62.00%"]
    assert beside == ["15", "92.00%", "62.00%", "-", "yes"]
    assert "360 real test images; the sparsest real training image has 16" in text([curve])
    assert "Not measured yet: k = 5." in text([curve])


def test_the_earlier_trial_is_marked_as_given_and_must_be_beaten_too(curve):
    row = curve.rows["15"].model_copy(update={"k": 60})
    mnist = curve.model_copy(update={"dataset": "mnist", "rows": {"60": row}})
    assert rows(text([mnist]), "60")[2] == ["60", "92.00%", "62.00%", "90.00%", "yes"]
    low = row.model_copy(update={"gate": row.gate.model_copy(update={"above": 0.9})})
    page = text([mnist.model_copy(update={"rows": {"60": low}})])
    assert rows(page, "60")[2][-1] == "no"
    assert "earlier trial, as given" in page


def test_a_share_at_the_ceiling_is_not_called_a_defeat(curve):
    row = curve.rows["15"]
    same = row.model_copy(update={"ceiling": 0.92, "rival": row.rival.model_copy(update={"above": 0.92})})
    page = text([curve.model_copy(update={"rows": {"15": same}})])
    assert rows(page, "15")[2][-1] == "nothing can: at the ceiling"


@pytest.mark.parametrize(("confident", "answer"), [(0.985, "yes"), (0.984, "no")])
def test_the_claim_needs_the_proof_and_both_accuracies(curve, confident, answer):
    row = curve.rows["15"]
    gate = row.gate.model_copy(update={"accuracy": 0.99, "confident": confident})
    claim = "proved to at least 15 at accuracy and confident accuracy of at least 98.50%"
    (found,) = rows(text([curve.model_copy(update={"rows": {"15": row.model_copy(update={"gate": gate})}})]), claim)
    assert found[1] == answer
    short = row.model_copy(update={"gate": gate.model_copy(update={"proved": 14})})
    page = text([curve.model_copy(update={"rows": {"15": short}})])
    assert rows(page, claim)[0][1] == "not measured"
    assert rows(page, "every gate is proved to the k it was trained to")[0][1:] == ["no", "short at k = [15]"]


def test_what_is_found_with_few_pixels_counts_at_many(tightness):
    page = text([tightness])
    assert rows(page, "2")[0] == [
        "2", "1.0000", "0.9000", "0.9000", "0.7500", "0.5000", "0.4000", "0.3500", "`x` 1, `y` 1", "0.250", "0.500",
    ]  # fmt: skip
    assert rows(page, "10")[0][5:8] == ["0.9500", "0.6250", "0.3350"]
    assert rows(page, "mine") == [["mine", "97.12%", "-", "2", "10", "0.9"]]
    assert "Not measured yet: k = 20." in page


def test_bounds_are_rounded_up_and_finds_down(tightness):
    (mine,) = tightness.networks.values()
    figures = {"interval": (0.89991,) * 2, "linear": (0.89991,) * 2, "found": (0.89989,) * 2}
    mine.rows["2"] = mine.rows["2"].model_copy(update=figures)
    assert rows(text([tightness]), "2")[0][1:8] == ["0.9000"] * 4 + ["0.8998"] * 2 + ["0.0001"]


def test_a_bound_is_given_in_passes_of_its_own_run(growth):
    page = text([growth])
    assert rows(page, "k") == [["k", "mlp", "7", "2", "30", "15", "0.0200", "0.3000", "0.0100"]]
    assert "Not measured yet: two." in page


def test_all_commands_stand_on_top_each_once(curve, tightness, growth):
    top = text([curve, tightness, growth]).partition("##")[0]
    commands = [
        curve.command, tightness.command, tightness.networks["mine"].command, growth.command,
        "python -m bench.figures render",
    ]  # fmt: skip
    assert "```\n" + "\n".join(commands) + "\n```" in top


def test_rendering_needs_no_torch(curve, tightness, growth, tmp_path):
    for record in (curve, tightness, growth):
        write(tmp_path / "figures" / f"{record.kind}-planted.json", record)
    program = (
        "import sys; from bench.figures.__main__ import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "render", "--into", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "FIGURES.md").read_text() == text([curve, tightness, growth])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(more=1), "more"),
        (lambda d: d["rows"]["15"]["gate"].update(confident=1.01), "gate.confident"),
        (lambda d: d["rows"]["15"]["gate"].update(proved=-1), "gate.proved"),
        (lambda d: d["rows"]["15"].update(ceiling=float("nan")), "ceiling"),
    ],
)
def test_a_damaged_file_is_refused_by_name(curve, tmp_path, change, says):
    data = curve.model_dump(mode="json")
    change(data)
    path = tmp_path / "figures" / "curve-planted.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=rf"{path.name}: .*{says}"):
        render(tmp_path)


def test_the_page_in_the_tree_is_what_its_files_give(tmp_path):
    shutil.copytree(ROOT / "bench" / "proof" / FOLDER, tmp_path / FOLDER)
    assert render(tmp_path).read_text() == (ROOT / "bench" / "proof" / PAGE).read_text()
