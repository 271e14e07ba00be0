"""Criterion 5, held out, past: the same for every past round."""

import pytest

CRITERION = 5


@pytest.mark.parametrize("rounds", ["past"])
def test_heldout_past(verdict, rounds):
    verdict(CRITERION)


@pytest.mark.parametrize("rounds", ["past"])
def test_heldout_past_class(verdict, rounds, real_class):
    verdict(CRITERION, real_class=real_class)
