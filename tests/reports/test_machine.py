"""What the site holds for machines: data.json, table.csv, their schema, badges."""

from __future__ import annotations

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest

from bench.record import RULES
from reports import machine
from reports.build import build
from tests.reports import sample
from tests.reports.test_hostile import hostile

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =cmd|' /C calc'!A0",
    "a;=1",
    'a",=1',
    "a\n=1",
    "\uff1d1",
    "||=1",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    bad = folder / "results" / "bad" / "certificate.json"
    bad.parent.mkdir(parents=True)
    bad.write_text("{}")
    return build([*sample.several(folder / "results"), bad], folder / "site").parent


def table(site) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((site / "table.csv").read_text("utf-8"))))


def test_data_holds_what_the_index_shows(site):
    data = json.loads((site / "data.json").read_text("ascii"))
    assert len(data["certificates"]) == 6
    assert data["refused"] == [{"file": "bad/certificate.json", "reason": data["refused"][0]["reason"]}]
    assert data["refused"][0]["reason"].startswith("dataset: Field required")
    row = next(row for row in data["certificates"] if row["defense"] == "undefended")
    assert (row["certified"], row["scope"], row["score"]) == (False, "process", 0.312)
    assert (row["proved_to"], row["fooled_from"], row["k"], row["pixels"]) == (6, 11, 24, 64)
    assert row["budget"] == {"name": "standard", "images": 300, "passes": 2000, "restarts": 2, "rounds": 12}
    assert [one["verdict"] for one in row["criteria"]][5:9] == ["not_applicable", "fail", "fail", "fail"]
    assert row["criteria"][8]["threshold"] == 0.01
    for row in data["certificates"]:
        assert (site / row["page"]).is_file()
        assert (site / row["badge"]).is_file()


def test_data_matches_its_schema_and_so_does_a_certificate(site, tmp_path):
    machine.Table.model_validate_json((site / "data.json").read_bytes())
    schema = json.loads((site / "schema.json").read_text("ascii"))
    assert schema["$ref"] == "#/$defs/Table"
    summary = schema["$defs"]["Summary"]
    row = json.loads((site / "data.json").read_text())["certificates"][0]
    assert set(summary["required"]) == set(summary["properties"]) == set(row)
    document = sample.document(tmp_path)
    assert (
        set(schema["$defs"]["Certificate"]["required"])
        <= set(document)
        <= set(schema["$defs"]["Certificate"]["properties"])
    )
    assert summary["properties"]["proved_to"]["description"].startswith("no image with at most this many lit pixels")


def test_the_same_certificates_give_the_same_bytes(site, tmp_path):
    again = build(list(reversed(sample.several(tmp_path / "results"))), tmp_path / "site").parent
    names = sorted(
        str(path.relative_to(again)) for path in again.rglob("*") if path.is_file() and path.name != "index.html"
    )
    assert len(names) == 3 + 2 * 6
    for name in set(names) - {"data.json"}:
        assert (again / name).read_bytes() == (site / name).read_bytes()
    first, second = (json.loads((folder / "data.json").read_text())["certificates"] for folder in (site, again))
    assert first == second


def test_the_table_has_a_line_a_certificate(site):
    rows = table(site)
    assert len(rows) == 6
    row = next(row for row in rows if row["checkpoint"] == "weights.safetensors")
    assert (row["scope"], row["certified"], row["defense"]) == ("model", "true", ""), "nobody says what trained them"
    assert (row["proved_to"], row["fooled_from"], row["seconds"], row["seed"]) == ("6", "", "148.2", "0")
    assert [row[f"c{number}"] for number in range(11)] == ["pass"] * 2 + ["not_applicable"] * 4 + ["pass"] * 5


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_starts_a_formula_whatever_separates_cells(tmp_path, text):
    data = sample.document(tmp_path / "one") | {"defense": text, "network": f"n{text}", "dataset": text}
    data["environment"]["revision"] = text
    site = build([sample.write_document(tmp_path / "one", data)], tmp_path / "site").parent
    source = (site / "table.csv").read_text("utf-8")
    assert source.count("\n") == 2
    for separator in (",", ";", "\t", "|"):
        for row in csv.reader(io.StringIO(source), delimiter=separator):
            for cell in row:
                assert not re.match(r"""[\s"']*(?<!')[=+\-@\uff1d\uff0b\uff0d\uff20](?!\d*$)""", cell), cell


def test_ordinary_names_are_written_as_they_are(tmp_path):
    data = sample.document(tmp_path / "one") | {"defense": "my-pack.age:attr", "network": "resnet-18 (v2)"}
    data["environment"]["seed"] = -3
    site = build([sample.write_document(tmp_path / "one", data)], tmp_path / "site").parent
    (row,) = table(site)
    assert (row["defense"], row["network"], row["seed"]) == ("my-pack.age:attr", "resnet-18 (v2)", "-3")
    assert row["made_at"] == "2026-11-24T06:12:31Z"


def test_a_hostile_certificate_is_inert_for_machines_too(tmp_path):
    data = hostile(tmp_path / "one")
    data["summary"] = "\u2028</script>" + "x" * 400_000
    data["attacks"] = ["\ud7ff<!--"] * 5000
    site = build([sample.write_document(tmp_path / "one", data)], tmp_path / "site").parent
    for name in ("data.json", "table.csv", "index.html"):
        assert (site / name).stat().st_size < 120_000
    source = (site / "data.json").read_bytes()
    assert not set(b"<>&\x7f") & set(source)
    assert source.isascii()
    (row,) = json.loads(source)["certificates"]
    assert "<script>alert(1)</script>" in row["defense"]
    assert not {"\u202e", "\x1b", "\x00", "\u2028", "\n"} & set(row["defense"] + row["summary"])


def badges(site) -> list:
    return [ElementTree.parse(path).getroot() for path in sorted((site / "badges").iterdir())]


def test_a_badge_says_whether_it_is_certified(site):
    texts = [[part.text for part in badge.findall(".//{*}text")] for badge in badges(site)]
    assert ["Distal · digits", "✓ certified (process, k 24, p 0.9)"] in texts
    assert ["Distal · digits", "✓ certified (model, k 24, p 0.9)"] in texts
    assert ["Distal · mnist", "✕ not certified (process, k 300, p 0.9)"] in texts
    assert all(badge.get("aria-label") for badge in badges(site))


def test_a_badge_does_not_pass_off_an_earlier_pass_as_one_of_today(tmp_path):
    path = sample.write_document(tmp_path / "one", sample.document(tmp_path / "one") | {"rules": RULES - 1})
    (badge,) = badges(build([path], tmp_path / "site").parent)
    assert "✓ certified by earlier rules (process, k 24, p 0.9)" in [text.text for text in badge.findall(".//{*}text")]


def test_a_hostile_badge_is_a_plain_picture(site, tmp_path):
    path = sample.write_document(tmp_path / "one", hostile(tmp_path / "one"))
    (evil,) = badges(build([path], tmp_path / "site").parent)
    plain = badges(site)[0]
    assert [part.tag for part in evil.iter()] == [part.tag for part in plain.iter()]
    assert [sorted(part.attrib) for part in evil.iter()] == [sorted(part.attrib) for part in plain.iter()]
    assert evil.get("aria-label").startswith("Distal · title-style-textarea-scr")
    assert float(evil.get("width")) < 500


def test_old_badges_go_with_their_certificates(tmp_path):
    old, new = sample.write(tmp_path / "old", seed=1), sample.write(tmp_path / "new", seed=2)
    folder = build([old], tmp_path / "site").parent / "badges"
    (gone,) = folder.iterdir()
    by_hand = folder / "digits-by-hand-0123456789ab.svg"
    by_hand.write_text("<svg/>")
    build([new], tmp_path / "site")
    assert not gone.exists()
    assert by_hand.exists()
    assert len(list(folder.iterdir())) == 2
