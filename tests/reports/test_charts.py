"""Where the marks of a chart stand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import charts
from tests.reports.sample import document, parsed

COUNTS = st.dictionaries(st.sampled_from(["fooling", "dense", "neither", "unheard of"]), st.integers(0, 10**400))


@given(COUNTS)
def test_a_bar_is_filled_exactly(outcomes):
    segments = charts.stacked(outcomes)
    assert sum(segment.count for segment in segments) == sum(outcomes.values())
    if segments:
        assert segments[0].start == 0
        assert segments[-1].start + segments[-1].length == pytest.approx(100, abs=0.01)
    for before, after in itertools.pairwise(segments):
        assert before.start + before.length == pytest.approx(after.start, abs=0.01)


def test_outcomes_stand_in_the_order_of_the_design_and_unknown_ones_last():
    names = charts.outcome_names([{"zebra": 1, "unconfident": 3, "dense": 2, "neither": 0}, {"ape": 1}])
    assert names == ["fooling", "dense", "unconfident", "ape", "zebra"], "fooling always; else what there was"


def test_rounds(tmp_path):
    certificate = parsed(document(tmp_path, total_rounds=4))
    chart = charts.rounds_chart(certificate.rounds)
    assert [band.label for band in chart.bands] == ["0", "1", "2", "3"]
    assert [band.selected for band in chart.bands] == [False, False, False, True]
    assert len(chart.accuracy) == 4
    assert len(chart.success) == 3, "round 0 ran no attack: it has no success, which differs from none at all"
    assert chart.bands[-1].left + chart.bands[-1].width < chart.width
    first = certificate.rounds[1]
    expected = chart.top + chart.panel * (1 - first.outcomes["fooling"] / first.attempted)
    assert chart.success[0].y == pytest.approx(expected, abs=0.01)


def test_labels_keep_their_distance_and_the_selected_round_has_one(tmp_path):
    chart = charts.rounds_chart(parsed(document(tmp_path, total_rounds=60)).rounds)
    labelled = [band for band in chart.bands if band.label]
    assert labelled[-1].selected
    assert labelled[-1].label == "59"
    gaps = [after.centre - before.centre for before, after in itertools.pairwise(labelled)]
    assert min(gaps) >= 30


def test_no_rounds_no_chart():
    assert charts.rounds_chart(()) is None


def test_classes_by_round(tmp_path):
    certificate = parsed(document(tmp_path, total_rounds=3))
    table = charts.class_table(certificate.rounds)
    assert list(table) == list(certificate.class_names)
    assert table["0"] == [round_.per_class[0].ratio for round_ in certificate.rounds[1:]]


def test_means_line_up(tmp_path):
    rows = parsed(document(tmp_path)).criteria[4].per_class
    columns = charts.mean_columns(rows)
    assert [column.name for column in columns] == ["fake_probability", "loss"]
    assert columns[0].cells[1] == "\N{EN DASH}", "a class without images has no mean"
    assert {len(cell) for cell in columns[0].cells if cell != "\N{EN DASH}"} == {5}
