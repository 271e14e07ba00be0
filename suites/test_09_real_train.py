"""Criterion 9, real train: accuracy and confident accuracy on real training data."""

import pytest

CRITERION = 9


@pytest.mark.parametrize("network", ["final"])
def test_real_train(verdict, network):
    verdict(CRITERION)


@pytest.mark.parametrize("network", ["final"])
def test_real_train_class(verdict, network, real_class):
    verdict(CRITERION, real_class=real_class)
