"""Rows that differ in their seed alone stand together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.consistency import REQUIRED_ATTACKS
from bench.record import VerdictName
from reports import board, machine
from reports.words import allowed
from tests.reports import sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("board")


UNTRAINED = {
    "scope": "model",
    "certified": False,
    "rounds": [],
    "training_attacks": [],
    "evolution": [],
    "transfer": None,
}


def row(folder, change=(), **choices) -> board.Row:
    data = sample.document(folder, total_rounds=1, **choices)
    data["environment"]["seed"] = choices.get("seed", 0)
    for name, value in dict(change).items():
        data[name] = data[name] | value if isinstance(value, dict) else value
    certificate = sample.parsed(data)
    slug = f"{certificate.defense}-{certificate.environment.seed}"
    return board.Row(slug, machine.summarise(certificate, slug), board.group_of(certificate))


def families(*rows) -> list[list[str]]:
    return [[family.seeds for family in families] for families in board.boards(rows)]


def test_seeds_of_one_setting_are_one_family(folder):
    assert families(*(row(folder, seed=seed) for seed in (10, 2, 0))) == [["3 seeds: 0, 2, 10"]]


@pytest.mark.parametrize(
    "change",
    [
        {"defense": "other"},
        {"network": "wide"},
        {"attacks": [*REQUIRED_ATTACKS, "another"]},
        {"rules": 0},
        {"budget": {"passes": 9_000}},
        {"budget": {"name": "full", "images": 1_000, "passes": 10_000, "restarts": 4}},
        UNTRAINED,
    ],
)
def test_another_setting_is_another_family(folder, change):
    (found,) = families(row(folder), row(folder, change, seed=1))
    assert sorted(found) == ["1 seed: 0", "1 seed: 1"]


def test_the_name_of_weights_tells_families_apart(folder):
    (found,) = families(*(row(folder, UNTRAINED | {"checkpoint": name}, seed=1) for name in ("a", "b")))
    assert found == ["1 seed: 1"] * 2


@pytest.mark.parametrize("change", [{"dataset": "other"}, {"threat": {"k": 23}}, {"threat": {"p": 0.95}}])
def test_another_threat_model_is_another_board(folder, change):
    assert len(families(row(folder), row(folder, change, seed=1))) == 2


def test_runs_of_one_seed_are_not_called_seeds(folder):
    rows = [row(folder, seed=3), row(folder, {"score": 0.5}, seed=3)]
    assert families(*rows) == [["2 runs, 1 seed: 3"]]


def family(folder, *changes) -> board.Family:
    return board.Family(tuple(row(folder, change, seed=seed) for seed, change in enumerate(changes)))


def test_median_and_spread_are_over_what_is_known(folder):
    made = family(folder, {"score": 0.2}, {"score": 0.9}, {"score": None}, {"score": 0.4})
    assert made.spread("score") == (0.4, 0.2, 0.9, 3, 4)
    assert family(folder, {"score": None}).spread("score") is None
    assert family(folder, {"score": 0.2}, {"score": 0.4}).spread("score").median == pytest.approx(0.3)


def test_whole_numbers_beyond_any_float_have_a_median(folder):
    huge = {"fooled_from": 10**400, "frontier": None}
    made = family(folder, huge, huge)
    assert made.spread("fooled_from").median == 10**400
    assert made.keys.split()[5] == "1e+15"


def test_a_verdict_of_several_seeds_is_the_worst_and_all_are_counted(folder):
    rows = [
        row(folder, verdicts="ppppppppfpp", seed=0),
        row(folder, seed=1),
        row(folder, verdicts="ppppppppipp", seed=2),
    ]
    made = board.Family(tuple(rows))
    assert made.tally(8) == [(VerdictName.FAIL, 1), (VerdictName.INCONCLUSIVE, 1), (VerdictName.PASS, 1)]
    assert made.tally(0) == [(VerdictName.PASS, 3)]
    assert made.certified == 1


def test_families_stand_certified_first_then_those_fooled_least(folder):
    half = [row(folder, seed=0, defense="half"), row(folder, seed=1, defense="half", verdicts="ppppppppfpp")]
    rows = [*half, row(folder, defense="none", verdicts="ppppppppipp"), row(folder, defense="all")]
    rows.append(row(folder, defense="too"))
    rows.append(row(folder, {"rules": 0}, defense="once"))
    rows.append(row(folder, defense="fooled", verdicts="ppppppppfpp"))
    rows.append(row(folder, {"rules": 0}, defense="none once", verdicts="ppppppppipp"))
    rows.append(row(folder, defense="unsure", verdicts="ppppppppppf"))
    (families,) = board.boards(rows)
    names = [one.first.defense for one in families]
    least = {row.summary.defense: (row.summary.criteria[8].observed, -row.summary.accuracy) for row in rows}
    assert names[:2] == sorted(["all", "too"], key=least.get)
    assert names[2:4] == ["once", "half"]
    assert names[4:] == sorted(["none", "none once", "unsure", "fooled"], key=least.get)
    assert names[-1] == "fooled", "a failure stands, by whatever rules"


def test_of_more_targets_more_may_be_fooled(folder):
    def fooled(share: float, n: int) -> board.Row:
        found = row(folder, defense=f"{share} of {n}", verdicts="ppppppppfpp")
        criteria = list(found.summary.criteria)
        criteria[8] = criteria[8].model_copy(update={"observed": share, "n": n})
        return replace(found, summary=found.summary.model_copy(update={"criteria": criteria, "fooled": share * n}))

    (families,) = board.boards([fooled(0.5, 300), fooled(0.2, 1000)])
    assert [one.first.fooled for one in families] == [200, 150]
    assert [float(one.keys.split()[1]) for one in families] == [0.2, 0.5]


def test_sentences_share_what_room_there_is(folder, monkeypatch):
    rows = [row(folder, verdicts="ppppppppfip")]
    reasons = board.tips(rows, allowed)["rows"][0][2]
    assert reasons == {one.id: one.reason for one in rows[0].summary.criteria[8:10]}
    monkeypatch.setattr(board, "SENTENCES", 140)
    assert {len(text) for text in board.tips(rows, allowed)["rows"][0][2].values()} == {70}
    monkeypatch.setattr(board, "SENTENCES", 100)
    assert board.tips(rows, allowed)["rows"][0][2] == {}


def test_tips_name_and_allow_what_each_row_does(folder):
    loose = row(folder, seed=1)
    loose.summary.criteria[8].__dict__["threshold"] = 0.5
    made = json.loads(machine.inert_json(board.tips([row(folder), loose, row(folder, seed=2)], allowed)))
    assert [one[0] for one in made["rows"]] == [0, 1, 0]
    assert [limits[8] for limits in made["limits"]] == [["final network", "≤ 1%"], ["final network", "≤ 50%"]]
    assert made["rows"][0][1][8][2] == "2\u202f990"
