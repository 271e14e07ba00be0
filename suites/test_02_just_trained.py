"""Criterion 2, just trained: the newest training images are detected."""

import pytest

CRITERION = 2


@pytest.mark.parametrize("rounds", ["newest"])
def test_just_trained(verdict, rounds):
    verdict(CRITERION)


@pytest.mark.parametrize("rounds", ["newest"])
def test_just_trained_class(verdict, rounds, real_class):
    verdict(CRITERION, real_class=real_class)
