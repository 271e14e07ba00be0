"""`python -m reports table`: certificates pooled, and the tables in the tree that are made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.consistency import REQUIRED_ATTACKS
from reports.__main__ import main
from tests.reports import sample

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "reports" / "results"


def seeded(folder, seed, **changes):
    """A certificate of seed `seed`, at `folder`."""
    data = sample.document(folder) | changes
    data["environment"] = data["environment"] | {"seed": seed}
    sample.write_document(folder, data)
    return data


def rows(capsys, *paths):
    """Cells of each row under a header that has `seeds`, by column."""
    assert main(["table", *map(str, paths)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    header = next(cells(line) for line in lines if "seeds" in line)
    return [dict(zip(header, cells(line), strict=True)) for line in lines if len(cells(line)) == len(header)][2:]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_seeds_share_a_row_in_their_order_and_other_defenses_do_not(tmp_path, capsys):
    first = seeded(tmp_path / "c", 2, defense="one")
    seeded(tmp_path / "a", 10, defense="one")
    seeded(tmp_path / "b", 0, defense="other")
    found = {row["defense"]: row for row in rows(capsys, tmp_path)}
    assert {name: row["seeds"] for name, row in found.items()} == {"`one`": "2, 10", "`other`": "0"}
    final = first["criteria"][8]
    assert found["`one`"]["8: fooled"] == str(round(final["observed"] * final["n"]))


def test_what_does_not_pass_is_named_with_how_many_seeds(tmp_path, capsys):
    for seed, verdicts in enumerate((("fail", "pass"), ("fail", "inconclusive"))):
        data = sample.document(tmp_path / str(seed))
        for criterion in data["criteria"]:
            criterion["verdict"] = "pass"
        data["criteria"][8]["verdict"], data["criteria"][10]["verdict"] = verdicts
        seeded(tmp_path / str(seed), seed, criteria=data["criteria"], certified=False)
    (row,) = rows(capsys, tmp_path)
    assert row["verdicts"] == "fails 8; open 10 (1 of 2)"


def test_tries_of_an_attack_are_added_over_seeds(tmp_path, capsys):
    data = seeded(tmp_path / "a", 0)
    seeded(tmp_path / "b", 1)
    part = next(row for row in data["criteria"][8]["per_attack"] if row["ratio"]["n"])
    assert main(["table", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(cells(line) for line in lines if f"`{part['attack']}`" in line)
    last = cells(lines[-1])
    ratio = part["ratio"]
    assert last[header.index(f"`{part['attack']}`")] == f"{2 * ratio['successes']:,} of {2 * ratio['n']:,}"


def test_other_budgets_have_a_section_of_their_own(tmp_path, capsys):
    data = seeded(tmp_path / "a", 0)
    seeded(tmp_path / "b", 1, budget=data["budget"] | {"passes": 7_777})
    assert main(["table", str(tmp_path)]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("## ")]
    assert len(titles) == 2
    assert "7,777 passes" in titles[1]


def test_what_was_not_measured_is_no_zero_and_comes_last(tmp_path, capsys):
    data = sample.document(tmp_path / "a")
    data["criteria"][8] |= {"observed": None, "bound": None, "n": 0, "verdict": "inconclusive", "per_attack": []}
    seeded(tmp_path / "a", 0, defense="a", criteria=data["criteria"], certified=False)
    seeded(tmp_path / "b", 0, defense="b")
    found = rows(capsys, tmp_path)
    assert [row["defense"] for row in found] == ["`b`", "`a`"]
    assert found[1]["8: fooled"] == "-"


@pytest.mark.parametrize(
    "changed",
    [{"p": 0.95}, {"passes": 9_000}, {"rounds": 9}, {"attacks": [*REQUIRED_ATTACKS, "another"]}, {"rules": 0}],
)
def test_only_the_seed_is_pooled(tmp_path, capsys, changed):
    data = seeded(tmp_path / "a", 0)
    place = next((key for key in ("threat", "budget") if changed.keys() <= data[key].keys()), None)
    seeded(tmp_path / "b", 1, **({place: data[place] | changed} if place else changed))
    assert main(["table", str(tmp_path)]) == 0
    assert "| 0, 1 " not in capsys.readouterr().out


def test_a_pass_by_earlier_rules_is_told_from_one_of_today(tmp_path, capsys):
    data = sample.document(tmp_path / "a", verdicts="p" * 11)
    seeded(tmp_path / "a", 0, **data)
    seeded(tmp_path / "b", 0, **data | {"rules": 0})
    assert sorted(row["verdicts"] for row in rows(capsys, tmp_path)) == [
        "**certified**",
        "**certified** by earlier rules",
    ]


@pytest.mark.parametrize("command", ["table", "recipe"])
def test_a_name_cannot_add_a_cell_or_a_row(tmp_path, capsys, command):
    seeded(tmp_path / "a", 0, defense="x:evil` | **certified** |\n| row")
    assert main([command, str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert not [line for line in lines if line.startswith("| row")]
    row = next(line for line in lines if "evil" in line)
    assert row.replace("\\|", "").count("|") == lines[0].count("|")
    assert "evil' " in row


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (RESULTS / "TABLE.md", ["table", str(RESULTS)]),
        (
            ROOT / "defenses" / "RECIPE.md",
            ["recipe", str(RESULTS / "digits-fakeclass-0"), *map(str, sorted(RESULTS.glob("digits-recipe-*")))],
        ),
    ],
)
def test_the_pages_in_the_tree_are_what_the_certificates_say(page, words, capsys):
    assert main(words) == 0
    assert page.read_text() == capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "heading"),
    [(ROOT / "README.md", "## What was measured"), (RESULTS / "README.md", "## Digits under the whole ensemble")],
)
def test_pages_show_nothing_but_cells_of_that_page(page, heading):
    """Each of their rows has a row there that holds all of its cells."""
    measured = page.read_text().partition(heading)[2]
    shown = [cells(line) for line in measured.splitlines() if line.startswith("| `")]
    known = [set(cells(line)) for line in (RESULTS / "TABLE.md").read_text().splitlines()]
    assert shown
    assert [row for row in shown if not any(whole.issuperset(row) for whole in known)] == []
