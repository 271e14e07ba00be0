"""The command that a certificate names: what decides figures, and not where somebody keeps them."""

from __future__ import annotations

import pytest

from bench.harness.run import without_places


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("suites/ --defense=fakeclass -q", "suites/ --defense=fakeclass -q"),
        ("suites/ --run-root=/home/ann/runs --seed=1", "suites/ --seed=1"),
        ("suites/ --run-root /home/ann/runs --seed=1", "suites/ --seed=1"),
        ("--run-dir /a/b --data-root=/c suites/", "suites/"),
        ("suites/ --run-root --run-dir --seed 1", "suites/ --seed 1"),
        ("suites/ --run-root", "suites/"),
    ],
)
def test_places_are_left_out(words, kept):
    assert without_places(words.split()) == kept.split()
