"""The page: made from stored files alone, without torch, and refused where a file is not what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.arsenal.page import FOLDER, PAGE, render, text
from bench.arsenal.record import RecordError, Strength, read, stored, write

ROOT = Path(__file__).resolve().parents[2]


def rows(page: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in page.splitlines() if line.startswith("|")]


def row(page: str, name: str) -> list[str]:
    (found,) = (cells for cells in rows(page) if cells[0] == name)
    return found


def test_every_figure_of_a_row_is_where_its_heading_says(strength):
    page = text([strength])
    assert row(page, "`sigma_zero`") == [
        "`sigma_zero`", "minimiser", "4/4", "5", "4", "4 6", "", "", "", "200", "1.5",
    ]  # fmt: skip
    assert row(page, "`other`")[2:6] == ["3/4", "6", "3", "3 6"]
    assert row(page, "`foolbox:A`") == [
        "`foolbox:A`", "peer", "4/4", "5", "5", "5 7", "5", "3", "3 5", "100 + 9", "3.0",
    ]  # fmt: skip
    assert row(page, "`art:B`")[1] == "not installed"
    assert row(page, "the best peer, pruned") == ["the best peer, pruned", "3", "5"]
    assert "validation accuracy 97.12%" in page


def test_the_median_of_mostly_nothing_is_nothing(strength):
    cells = strength.networks["mlp"].cells
    cells["other"] = cells["other"].model_copy(update={"pixels": (3, None, None, None)})
    assert row(text([strength]), "`other`")[2:6] == ["1/4", "-", "3", "3 -"]


def test_the_commands_stand_on_top(strength):
    top = text([strength]).partition("##")[0]
    assert f"```\n{strength.command}\npython -m bench.arsenal render\n```" in top


def test_an_attack_not_measured_yet_says_so(strength):
    del strength.networks["mlp"].cells["other"]
    assert row(text([strength]), "`other`")[1] == "not measured yet"


def test_a_file_comes_back_as_it_was_written_a_list_of_numbers_to_a_line(strength, tmp_path):
    path = tmp_path / "strength-planted.json"
    write(path, strength)
    assert read(path, Strength) == strength
    assert '"pixels": [ 3, 6, null, 9 ],' in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_rendering_needs_no_torch(strength, tmp_path):
    write(tmp_path / "strength" / "strength-planted.json", strength)
    program = (
        "import sys; from bench.arsenal.__main__ import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "render", "--into", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "STRENGTH.md").read_text() == text([strength])
    assert done.stdout == f"{tmp_path / 'STRENGTH.md'}\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(seed="x"), "seed"),
        (lambda d: d.update(more=1), "more"),
        (lambda d: d["networks"]["mlp"].update(accuracy=float("nan")), "accuracy"),
        (lambda d: d["networks"]["mlp"]["cells"]["other"].update(pixels=[-1]), "cells.other.pixels"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_by_name(strength, tmp_path, change, says):
    path = tmp_path / "strength" / "strength-planted.json"
    data = strength.model_dump(mode="json")
    change(data)
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=rf"{path.name}: .*{says}"):
        render(tmp_path)
    path.write_text("{")
    with pytest.raises(RecordError, match=path.name):
        render(tmp_path)


def test_figures_of_other_settings_never_share_a_file(strength, tmp_path):
    path = tmp_path / "strength-planted.json"
    write(path, strength)
    assert stored(path, strength, fresh=False) == strength
    other = strength.model_copy(update={"settings": strength.settings | {"passes": 1}})
    with pytest.raises(RecordError, match=r"other settings \(passes\)"):
        stored(path, other, fresh=False)
    assert stored(path, other, fresh=True) is None


def test_the_page_in_the_tree_is_what_its_files_give(tmp_path):
    shutil.copytree(ROOT / "attacks" / FOLDER, tmp_path / FOLDER)
    assert render(tmp_path).read_text() == (ROOT / "attacks" / PAGE).read_text()
