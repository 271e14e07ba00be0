"""Criterion 6, other network: images of the training process made on network B are detected."""

CRITERION = 6


def test_other_network(verdict):
    verdict(CRITERION)


def test_other_network_attack(verdict, attack):
    verdict(CRITERION, attack=attack)


def test_other_network_class(verdict, real_class):
    verdict(CRITERION, real_class=real_class)
