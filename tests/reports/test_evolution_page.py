"""The same targets round by round: what the schema refuses, and which sheets the page holds."""

from __future__ import annotations

import pytest

from bench.record import CertificateError, ContradictionError, read_certificate
from reports.build import PICTURES, _chosen
from reports.charts import outcome_words
from reports.entry import read_entry
from tests.reports import sample


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda steps: steps.reverse(), r"expected rounds of the run in order; got \[6, 5, 4, 3, 2, 1, 0\]"),
        (lambda steps: steps[6].update(index=7), r"got \[0, 1, 2, 3, 4, 5, 7\]"),
        (lambda steps: steps[1].update(index=0), r"got \[0, 0, 2, 3, 4, 5, 6\]"),
        (lambda steps: steps[2]["sheet"]["captions"].pop(), "expected the same targets in every step"),
        (lambda steps: steps[2]["outcomes"].update(fooling=0), "expected the same targets in every step"),
    ],
)
def test_steps_that_do_not_line_up_are_refused(tmp_path, change, said):
    data = sample.document(tmp_path)
    change(data["evolution"])
    with pytest.raises(ContradictionError, match=said):
        read_certificate(sample.write_document(tmp_path, data))


def test_a_changed_sheet_is_refused_by_its_step(tmp_path):
    path = sample.write(tmp_path)
    sheet = tmp_path / "sheets" / "evolution-003.png"
    sheet.write_bytes(sheet.read_bytes() + b"\0")
    with pytest.raises(CertificateError, match=r"evolution\.3\.sheet: sheet 'sheets/evolution-003\.png': changed"):
        read_entry(path)


def test_where_room_is_short_it_goes_before_the_rounds_own_sheets_and_keeps_both_ends(tmp_path):
    entry = read_entry(sample.write(tmp_path, total_rounds=24))
    assert _chosen(entry, PICTURES[0]).total == len(entry.sheets) + 23 + 12
    size = len(entry.evolution[0].data)
    room = sum(len(picture.data) for picture in entry.sheets) + round(3.5 * size)
    chosen = _chosen(entry, room)
    assert {0, 23} <= set(chosen.evolution)
    assert len(chosen.evolution) < 12
    assert not chosen.rounds


def test_outcomes_in_words():
    assert outcome_words({"in_distribution": 8, "fooling": 12, "dense": 0}) == "12 fooling, 8 in distribution"
    assert outcome_words({}) == "no images"
