"""Times: the least of turns, every planned row once, kept while it holds."""

from __future__ import annotations

import pytest
from planted_figures import KEY

from bench.arsenal.record import read
from bench.figures import growth
from bench.figures.__main__ import main
from bench.figures.growth import KS, WIDTHS, Case, fastest, layers, planned
from bench.figures.record import Growth, GrowthRow
from bench.materials.networks import build


def test_the_least_of_several_turns_counts(monkeypatch):
    now, turns = [0.0], []
    monkeypatch.setattr(growth.time, "perf_counter", lambda: now[0])

    def work(name, *seconds):
        left = list(seconds)

        def once():
            turns.append(name)
            now[0] += left.pop(0)

        return once

    assert fastest((work("a", 3, 1, 2), work("b", 5, 6, 4)), 3) == [1, 4]
    assert turns == ["a", "b"] * 3


def test_k_and_width_vary_alone():
    cases = planned().values()
    by_k = [case for case in cases if case.series == "k"]
    by_width = [case for case in cases if case.series == "width"]
    assert (tuple(case.k for case in by_k), len({case.network for case in by_k})) == (KS, 1)
    assert (len({case.k for case in by_width}), len({case.network for case in by_width})) == (1, len(WIDTHS))
    for case, width in zip(by_width, WIDTHS, strict=True):
        network = build(case.factory, growth.SPEC, 10, 0)
        assert [tuple(w.shape) for w in network.parameters() if w.ndim == 2] == [
            (width, 784), (width, width), (10, width),
        ]  # fmt: skip


def test_a_row_times_both_bounds_and_a_pass(monkeypatch):
    asked = []
    monkeypatch.setattr(growth, "bounds", lambda network, spec, ks, method: asked.append((tuple(ks), method)))
    row = growth.row(Case("k", "tiny", layers(4), 7), KEY, 2, 0)
    assert asked == [((7,), "interval"), ((7,), "linear")] * 2
    assert (row.series, row.network, row.k) == ("k", "tiny", 7)
    assert row.forward > 0


def test_a_killed_command_goes_on_where_it_was(monkeypatch, tmp_path):
    cases = {name: Case("k", "tiny", layers(4), k) for name, k in (("one", 1), ("two", 2))}
    monkeypatch.setattr(growth, "planned", lambda: cases)
    measured, stop = [], [2]

    def row(case, key, repeats, seed):
        if case.k in stop:
            raise KeyboardInterrupt
        measured.append(case.k)
        facts = {"series": case.series, "network": case.network, "k": case.k, "interval": 1, "linear": 2, "forward": 4}
        return GrowthRow(key=key, revision="abc", **facts)

    monkeypatch.setattr(growth, "row", row)
    command = ["growth", "--repeats", "2", "--into", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        main(command)
    assert list(read(tmp_path / "figures" / "growth.json", Growth).rows) == ["one"]
    stop.clear()
    assert main(command) == 0
    assert main(command) == 0
    assert measured == [1, 2]
    assert "| k | tiny | 2 | 0.25 | 0.5 | 2 |" in (tmp_path / "FIGURES.md").read_text()
