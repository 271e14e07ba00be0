"""Rows are marked as verified by the ledger of whoever builds the site, and by nothing else."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.record import RULES, read_certificate
from reports.__main__ import main
from reports.build import build
from reports.identity import identity
from reports.ledger import LedgerError, Verification, enter, read_ledger
from tests.reports import sample
from tests.reports.page import certificate_pages, read

CHECK = Verification(
    revision="abc1234", packages={"torch": "2.14.1"}, date="2026-11-24", taken_on_trust=("That <b>it</b> ran.",)
)


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger.json"


def test_only_what_is_in_the_ledger_is_shown_as_verified(tmp_path, ledger):
    paths = [sample.write(tmp_path / str(seed), seed=seed) for seed in range(3)]
    (tmp_path / "0" / "verified.json").write_text("{}")  # a claim of the folder's own
    enter(ledger, identity(read_certificate(paths[1])), CHECK)
    index = build(paths, tmp_path / "site", ledger)
    rows = json.loads((index.parent / "data.json").read_text())["certificates"]
    assert {row["seed"]: row["verified"] for row in rows} == {0: False, 1: True, 2: False}
    with (index.parent / "table.csv").open() as file:
        assert {row["seed"]: row["verified"] for row in csv.DictReader(file)} == {
            "0": "false",
            "1": "true",
            "2": "false",
        }
    seen = [attributes.get("class") for tag, attributes in read(index).tags if tag == "small"].count("verified")
    assert seen == 2  # the row, and the row that stands for the three seeds
    assert "◆ 1 of 3 verified" in read(index).text
    texts = [" ".join(read(page).text.split()) for page in certificate_pages(index)]
    assert sum("◇ Not verified: figures as handed in." in text for text in texts) == 2
    (checked,) = [text for text in texts if "◆ Verified on 2026-11-24 by revision abc1234: every figure" in text]
    assert "What was taken on trust That <b>it</b> ran." in checked


def test_a_pass_by_earlier_rules_is_not_shown_as_verified(tmp_path, ledger):
    paths = []
    for letter in "pf":
        data = sample.document(tmp_path / letter, verdicts=f"pppppppp{letter}pp") | {"rules": RULES - 1}
        paths.append(sample.write_document(tmp_path / letter, data))
        enter(ledger, identity(read_certificate(paths[-1])), CHECK)
    index = build(paths, tmp_path / "site", ledger)
    rows = json.loads((index.parent / "data.json").read_text())["certificates"]
    assert {row["certified"]: row["verified"] for row in rows} == {True: False, False: True}


def test_a_certificate_that_changes_is_no_longer_verified_unless_people_only_looked(tmp_path, ledger):
    path = sample.write(tmp_path / "one")
    enter(ledger, identity(read_certificate(path)), CHECK)
    data = json.loads(path.read_text())
    sample.write_document(path.parent, data | {"score": 0.999})
    index = build([path], tmp_path / "site", ledger)
    assert json.loads((index.parent / "data.json").read_text())["certificates"][0]["verified"] is False
    sample.write_document(path.parent, data)
    index = build([path], tmp_path / "site", ledger)
    assert json.loads((index.parent / "data.json").read_text())["certificates"][0]["verified"] is True


def test_entries_stand_in_order_and_are_replaced(ledger):
    for key in ("b" * 64, "a" * 64, "b" * 64):
        enter(ledger, key, CHECK.model_copy(update={"revision": f"by {key[0]}"}))
    assert list(json.loads(ledger.read_text())) == ["a" * 64, "b" * 64]
    assert read_ledger(ledger)["b" * 64].revision == "by b"
    assert {path.name for path in ledger.parent.iterdir()} - {f".{ledger.name}.lock"} == {ledger.name}


def test_entries_that_come_at_once_all_stay(ledger):
    keys = [f"{i:064x}" for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: enter(ledger, key, CHECK), keys))
    assert list(read_ledger(ledger)) == keys


def test_the_command_takes_a_ledger_and_refuses_one_it_cannot_read(tmp_path, ledger, capsys):
    path = sample.write(tmp_path / "one")
    ledger.write_text('{"x": {}}')
    with pytest.raises(LedgerError, match="delete the entry"):
        read_ledger(ledger)
    words = [str(path), "--out", str(tmp_path / "site"), "--ledger", str(ledger)]
    for command in (["build", *words], ["verify", str(path.parent), "--ledger", str(ledger)]):
        assert main(command) == 2
        assert "ledger.json: " in capsys.readouterr().err
    ledger.unlink()
    assert main(["build", *words]) == 2  # a typo would drop every mark
    assert "no such file" in capsys.readouterr().err
    enter(ledger, identity(read_certificate(path)), CHECK)
    assert main(["build", *words]) == 0
