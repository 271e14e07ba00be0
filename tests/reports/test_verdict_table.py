"""Verdicts as text."""

from __future__ import annotations

import pytest

from reports.text import verdict_table
from tests.reports.sample import document, parsed
from tests.reports.sample import proof as sample_proof


def without_proof(folder, **choices):
    return parsed(document(folder, **choices) | {"proof": None, "proved_to": None})


def test_all_pass_and_no_proof_is_the_table_alone(tmp_path):
    lines = verdict_table(without_proof(tmp_path)).splitlines()
    assert lines[0].split() == ["id", "criterion", "verdict", "observed", "bound", "allowed", "n"]
    assert len(lines) == 13
    assert lines[-3].split() == ["8", "final", "network", "pass", "0.0%", "0.1%", "<=", "1%", "2990"]


def test_sentences_follow_for_what_did_not_pass(tmp_path):
    certificate = without_proof(tmp_path, verdicts="ppnippppfpp")
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
        criterion["reason"] = "unbroken" * 60 + " \x1b]0;title\x07 " + "word " * 100
    reason = "No proof: \x1b[31m\u202e" + "layer " * 100 + "\r\n" + "unbroken" * 60
    data |= {"proved_to": None, "proof": data["proof"] | {"proved_to": None, "rows": [], "reason": reason}}
    text = verdict_table(parsed(data))
    assert max(map(len, text.splitlines())) <= 100
    assert "No proof: " in text
    assert not {"\x1b", "\r", "\u202e"} & set(text)


def test_it_is_ascii_where_the_certificate_is(tmp_path):
    assert verdict_table(parsed(document(tmp_path, verdicts="ppnnnnffffi"))).isascii()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "proved up to 6 lit pixels; reached from 11 (sparsest real training image: 8)"),
        (
            {"fooled_from": None, "frontier": {"attacks": [], "per_class": {}, "rows": []}},
            "proved up to 6 lit pixels; reached from: nothing found (sparsest real training image: 8)",
        ),
        (
            {"fooled_from": None, "frontier": None},
            "proved up to 6 lit pixels; reached from: not searched (sparsest real training image: 8)",
        ),
        (
            {"proof": sample_proof(1, 8), "proved_to": 1},
            "proved up to 1 lit pixel; reached from 11 (sparsest real training image: 8)",
        ),
        (
            {"proof": sample_proof(6, 8) | {"proved_to": None, "reason": "No proof: Tanh."}, "proved_to": None},
            "No proof: Tanh.",
        ),
    ],
)
def test_one_line_after_the_table_says_what_is_proved(tmp_path, change, line):
    paragraphs = verdict_table(parsed(document(tmp_path, verdicts="ppppppppfpp") | change)).split("\n\n")
    assert len(paragraphs) == 3
    assert paragraphs[1] == line
