"""Criterion 8, final network: no attack of the ensemble fools the final network."""

import pytest

CRITERION = 8


@pytest.mark.parametrize("network", ["final"])
def test_final_network(verdict, network):
    verdict(CRITERION)


@pytest.mark.parametrize("network", ["final"])
def test_final_network_attack(verdict, network, attack):
    verdict(CRITERION, attack=attack)


@pytest.mark.parametrize("network", ["final"])
def test_final_network_class(verdict, network, real_class):
    verdict(CRITERION, real_class=real_class)
