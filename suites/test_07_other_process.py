"""Criterion 7, other process: images of attacks that training did not use, on B and on past networks, are detected."""

CRITERION = 7


def test_other_process(verdict):
    verdict(CRITERION)


def test_other_process_attack(verdict, attack):
    verdict(CRITERION, attack=attack)


def test_other_process_class(verdict, real_class):
    verdict(CRITERION, real_class=real_class)
