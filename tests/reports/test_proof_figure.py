"""Proved bound and best attack in one figure: where its marks stand, what it says, what it leaves out."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from reports import standing
from reports.build import build
from reports.proof_chart import WIDTHS, proof_charts
from reports.proof_labels import LETTER
from tests.reports import sample
from tests.reports.page import certificate_pages, read

NO_PROOF = {"proof": None, "proved_to": None}
UNSUPPORTED = {
    "proof": sample.proof(6, 8) | {"proved_to": None, "rows": [], "reason": "No proof: Tanh is not supported."},
    "proved_to": None,
}
ALL = {"proof": sample.proof(64, 8), "proved_to": 64, "fooled_from": None, "frontier": None}
NOTHING_FOUND = {"fooled_from": None}


def document(folder, change=(), *, proved=6, reached=11, sparsest=8) -> dict:
    """A certificate of which p is reached from `reached` on, changed as told."""
    data = sample.document(folder, verdicts="ppppppppfpp")
    data |= {"proof": sample.proof(proved, sparsest), "proved_to": proved, "fooled_from": reached}
    data |= dict(change)
    if data["fooled_from"] is None and data["frontier"]:
        data["frontier"]["per_class"] = {"0": None}
    elif data["frontier"]:
        data["frontier"]["per_class"] = {"0": data["fooled_from"]}
    return data


def charts(folder, *change, **numbers):
    return proof_charts(sample.parsed(document(folder, *change, **numbers)))


def page(folder, *change, **numbers) -> str:
    data = document(folder / "one", *change, **numbers)
    index = build([sample.write_document(folder / "one", data)], folder / "out")
    return certificate_pages(index)[0].read_text("utf-8")


def figure(text: str) -> str:
    return text[text.index('id="frontier"') : text.index('id="verdicts"')]


def stairs(path: str) -> list[tuple[float, float]]:
    """The corners of a path of M, H and V."""
    corners, x, y = [], 0.0, 0.0
    for step, first, second in re.findall(r"([MHV])([\d.]+)(?:,([\d.]+))?", path):
        x = x if step == "V" else float(first)
        y = y if step == "H" else float(second or first)
        corners.append((x, y))
    return corners


def test_bounds_rise_before_and_attacks_at_their_k(tmp_path):
    chart = charts(tmp_path)[0]
    by_k = dict(zip((row["k"] for row in sample.proof(6, 8)["rows"]), chart.linear, strict=True))
    corners = stairs(chart.linear_path)
    assert corners[0] == (chart.left, by_k[0].y)
    assert (by_k[2].x, by_k[5].y) in corners, "between 2 and 5 only the bound at 5 holds"
    assert (by_k[5].x, by_k[2].y) not in corners
    found = stairs(chart.best_path)
    assert (chart.best[1].x, chart.best[0].y) in found, "what 5 pixels reach, 9 reach too"
    assert (chart.best[0].x, chart.best[1].y) not in found
    assert found[-1] == (chart.end, chart.best[-1].y)


def test_what_reaches_p_raises_the_attack_to_p_at_its_own_k(tmp_path):
    chart = charts(tmp_path)[0]
    assert (chart.reached.x, chart.level) in stairs(chart.best_path)
    assert chart.reached.y == chart.level
    assert chart.level == pytest.approx(chart.top + chart.panel * (1 - 0.88))


def test_an_attack_never_stands_above_the_proved_bound(tmp_path):
    for chart in charts(tmp_path):
        bounds = {point.x: point.y for point in chart.linear}
        shared = [point for point in chart.best if point.x in bounds]
        assert len(shared) == 3
        assert all(point.y >= bounds[point.x] for point in shared)


def test_the_axis_is_the_square_root_and_its_ticks_keep_their_distance(tmp_path):
    for chart in charts(tmp_path):
        limit = int(chart.ticks[-1].label)
        assert limit >= 24
        for tick in chart.ticks:
            share = math.sqrt(int(tick.label) / limit)
            assert tick.x == pytest.approx(chart.left + share * (chart.end - chart.left), abs=0.01)
        assert min(after.x - before.x for before, after in itertools.pairwise(chart.ticks)) >= 27
        assert len(chart.ticks) >= 5


@pytest.mark.parametrize("proved", [0, 1, 5, 12, 20, 21, 40, 63])
def test_labels_stay_inside_and_never_share_a_row(tmp_path, proved):
    data = document(tmp_path, {"frontier": None}, proved=proved)
    for reached, sparsest in itertools.product((proved + 1, (proved + 65) // 2, 64, None), (0, 16, 20, 22, 64)):
        data |= {"fooled_from": reached, "proof": sample.proof(proved, sparsest)}
        for chart in proof_charts(sample.parsed(data)):
            baselines = [mark.baseline for mark in chart.marks]
            assert len(baselines) == len(set(baselines)) == 2 + (reached is not None)
            assert max(baselines) < chart.top - chart.strip - 10
            for mark in chart.marks:
                needed = LETTER * len(mark.text)
                left = mark.text_x - needed if mark.anchor == "end" else mark.text_x
                assert left >= 0
                assert left + needed <= chart.width


def test_close_marks_have_lines_that_cross_no_label(tmp_path):
    for chart in charts(tmp_path, {"frontier": None}, proved=21, reached=22, sparsest=20):
        for mark, other in itertools.permutations(chart.marks, 2):
            width = LETTER * len(other.text)
            left = other.text_x - (width if other.anchor == "end" else 0)
            crosses = left < mark.x < left + width and mark.line_top < other.baseline
            assert not crosses, (mark, other)


@pytest.mark.parametrize(
    ("change", "numbers", "regions"),
    [
        ({}, {}, ["proved", "open", "reached"]),
        ({}, {"proved": 10}, ["proved", "reached"]),
        (NOTHING_FOUND, {}, ["proved", "open"]),
        (NO_PROOF, {}, ["open", "reached"]),
        (UNSUPPORTED, {}, ["open", "reached"]),
        (NO_PROOF, {"reached": 0}, ["reached"]),
        (ALL, {}, ["proved"]),
    ],
)
def test_regions_in_order_without_overlap(tmp_path, change, numbers, regions):
    change = dict(change)
    if "reached" in numbers:
        change["fooled_from"] = numbers["reached"]
    for chart in charts(tmp_path, change, **numbers):
        assert [region.name for region in chart.regions] == regions
        for before, after in itertools.pairwise(chart.regions):
            assert before.left + before.width <= after.left
        assert all(region.worded for region in chart.regions)
        assert all(bool(region.stripes) == (region.name == "reached") for region in chart.regions)


@pytest.mark.parametrize(
    ("proved", "reached", "said"),
    [
        (9, 11, "Proved up to 9 lit pixels; reached from 11 lit pixels; open at 10."),
        (10, 11, "Proved up to 10 lit pixels; reached from 11 lit pixels; nothing is open."),
        (1, None, "Proved up to 1 lit pixel; reached from: nothing found; open from 2."),
        (0, 1, "Proved up to 0 lit pixels; reached from 1 lit pixel; nothing is open."),
    ],
)
def test_what_is_open_is_named(tmp_path, proved, reached, said):
    data = document(tmp_path, {"fooled_from": reached}, proved=proved)
    assert standing.between(sample.parsed(data)) == said


@pytest.mark.parametrize(("reached", "left"), [(1, [True, False]), (22, [True, True]), (None, [True, True])])
def test_p_is_written_where_the_cross_does_not_stand(tmp_path, reached, left):
    assert [chart.level_left for chart in charts(tmp_path, {"fooled_from": reached}, proved=0)] == left


def test_what_is_proved_at_0_only_still_has_a_region(tmp_path):
    first = charts(tmp_path, proved=0)[0].regions[0]
    assert (first.name, first.width, first.worded) == ("proved", 3.0, False)


def test_nothing_known_no_figure(tmp_path):
    nothing = NO_PROOF | {"fooled_from": None, "frontier": None}
    assert charts(tmp_path / "a", nothing) == []
    text = figure(page(tmp_path / "b", nothing))
    assert "No proof was attempted." in text
    assert "reached from: not searched" in text
    assert "<svg" not in text


@pytest.mark.parametrize("name", WIDTHS)
def test_the_figure_has_a_text_alternative_and_words(tmp_path, name):
    text = figure(page(tmp_path))
    assert text.count("proof-chart ") == len(WIDTHS)
    svg = text[text.index(f'class="chart proof-chart {name}"') :]
    svg = svg[: svg.index("</svg>")]
    assert f'aria-labelledby="proof-title-{name} proof-text-{name}"' in svg
    assert "Proved up to 6 lit pixels; reached from 11 lit pixels; open from 7 to 10." in svg
    for word in ("proved", "open", "reached", "proved up to 6", "reached from 11", "sparsest real: 8", "p 88.0%"):
        assert f">{word}</text>" in svg
    assert "Proved bound, 5 lit pixels: at most 50.000%" in svg
    assert "Best attack, 5 lit pixels: 25.000%; the control is not reached either" in svg


def test_every_row_stands_in_the_table(tmp_path):
    text = figure(page(tmp_path))
    table = re.findall(r'<tr><th scope="row" class="num">(\d+)</th>(.+?)<td>(\w+)</td></tr>', text)
    cells = {k: (re.findall(r'<td class="num">(.+?)</td>', numbers), state) for k, numbers, state in table}
    assert list(cells) == ["0", "1", "2", "5", "6", "7", "10", "20"]
    assert cells["5"] == (["50.000%", "68.998%", "25.000%"], "proved")
    assert cells["7"] == (["88.080%", "94.268%", "\N{EN DASH}"], "open")
    assert [cells[k][1] for k in ("6", "10", "20")] == ["proved", "open", "reached"]


@pytest.mark.parametrize(
    ("change", "shown", "absent"),
    [
        (NO_PROOF, "No proof was attempted.", "no real class above this"),
        (UNSUPPORTED, "No proof: Tanh is not supported.", "no real class above this"),
        (NOTHING_FOUND, "No attack found an image that reaches p.", "fewest that reached p"),
        (ALL, "Proved up to 64 lit pixels; reached from: not searched; nothing is open.", "best attack found"),
        ({"frontier": None}, "An attack reached p with 11 lit pixels.", "best attack found"),
    ],
)
def test_what_is_not_known_is_said_and_not_drawn(tmp_path, change, shown, absent):
    text = page(tmp_path, change)
    assert shown in text
    assert absent not in figure(text)


def test_what_is_proved_stands_near_the_top(tmp_path):
    top = page(tmp_path).partition("On this page")[0]
    assert "No image with at most 6 lit pixels reaches p for any class; the sparsest real training image has 8." in top
    assert "An attack reached p with 11 lit pixels." in top


def test_a_hostile_reason_is_inert_wherever_it_stands(tmp_path):
    evil = '</desc></svg><script>alert(1)</script><img src=x onerror="alert(1)">{{ 7 * 7 }}\u202e\x1b'
    data = document(tmp_path / "one", UNSUPPORTED)
    data["proof"]["reason"] = evil
    index = build([sample.write_document(tmp_path / "one", data)], tmp_path / "out")
    (path,) = certificate_pages(index)
    shown = read(path)
    assert not shown.foreign
    assert not any(name.startswith("on") for _, name in shown.attributes)
    assert shown.text.count("<script>alert(1)</script>") == 4, "near the top, above the figure, in both descriptions"
    assert "{{ 7 * 7 }}" in shown.text
    assert not {"\u202e", "\x1b"} & set(shown.text)


def test_the_level_is_the_least_operating_point_and_nominal_without_one(tmp_path):
    data = document(tmp_path)
    assert standing.level(sample.parsed(data)) == 0.88
    data["threat"]["operating_point"] = []
    assert standing.level(sample.parsed(data)) == 0.9
