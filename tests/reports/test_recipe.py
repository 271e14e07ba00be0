"""`python -m reports recipe`: variants side by side."""

from __future__ import annotations

from reports.__main__ import main
from tests.reports import sample


def written(folder, **changes):
    data = sample.document(folder) | changes
    return sample.write_document(folder, data), data


def test_one_line_a_certificate_with_what_criteria_8_and_10_say(tmp_path, capsys):
    _, whole = written(tmp_path / "b", defense="defenses.recipe:whole")
    written(tmp_path / "a", defense="defenses.recipe:no_gate")
    assert main(["recipe", str(tmp_path)]) == 0
    first, second = (line.split("|") for line in capsys.readouterr().out.splitlines()[-2:])
    assert first[1].strip() == "no gate"
    assert second[1].strip() == "whole"
    final = whole["criteria"][8]
    assert second[4].strip() == f"{round(final['observed'] * final['n'])} of {final['n']}"
    assert second[8].strip() == final["verdict"]
    assert second[9].strip() == whole["criteria"][10]["verdict"]


def test_nothing_to_compare_is_one_clear_line(tmp_path, capsys):
    assert main(["recipe", str(tmp_path)]) == 2
    assert "no certificate.json in it" in capsys.readouterr().err
