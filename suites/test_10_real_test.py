"""Criterion 10, real test: the same on real test data."""

import pytest

CRITERION = 10


@pytest.mark.parametrize("network", ["final"])
def test_real_test(verdict, network):
    verdict(CRITERION)


@pytest.mark.parametrize("network", ["final"])
def test_real_test_class(verdict, network, real_class):
    verdict(CRITERION, real_class=real_class)
