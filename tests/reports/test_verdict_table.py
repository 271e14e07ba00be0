"""Verdicts as text."""

from __future__ import annotations

from reports.text import verdict_table
from tests.reports.sample import document, parsed


def test_all_pass_is_the_table_alone(tmp_path):
    lines = verdict_table(parsed(document(tmp_path))).splitlines()
    assert lines[0].split() == ["id", "criterion", "verdict", "observed", "bound", "allowed", "n"]
    assert len(lines) == 13
    assert lines[-3].split() == ["8", "final", "network", "pass", "0.0%", "0.1%", "<=", "1%", "2990"]


def test_sentences_follow_for_what_did_not_pass(tmp_path):
    certificate = parsed(document(tmp_path, verdicts="ppnippppfpp"))
    table, _, sentences = verdict_table(certificate).partition("\n\n")
    assert len(table.splitlines()) == 13
    starts = [line for line in sentences.splitlines() if not line.startswith(" ")]
    assert [start.split(":")[0] for start in starts] == [
        "2 just trained, not applicable",
        "3 no forgetting, inconclusive",
        "8 final network, fail",
    ]
    for identity in (2, 3, 8):
        assert certificate.criteria[identity].reason in " ".join(sentences.split())


def test_it_fits_a_hundred_columns_and_steers_no_terminal(tmp_path):
    data = document(tmp_path, verdicts="ffffnnfffff")
    for criterion in data["criteria"]:
        criterion["name"] = "name \x1b[31m " * 30
        criterion["reason"] = "unbroken" * 60 + " \x1b]0;title\x07 " + "word " * 100
    text = verdict_table(parsed(data))
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def test_it_is_ascii_where_the_certificate_is(tmp_path):
    assert verdict_table(parsed(document(tmp_path, verdicts="ppnnnnffffi"))).isascii()
