"""Criterion 3, no forgetting: every past round's training images are still detected."""

import pytest

CRITERION = 3


@pytest.mark.parametrize("rounds", ["past"])
def test_no_forgetting(verdict, rounds):
    verdict(CRITERION)


@pytest.mark.parametrize("rounds", ["past"])
def test_no_forgetting_class(verdict, rounds, real_class):
    verdict(CRITERION, real_class=real_class)
