"""Criterion 1, ood: what the attack yields is out of distribution, and the judge itself is sound."""

CRITERION = 1


def test_ood(verdict):
    verdict(CRITERION)


def test_ood_attack(verdict, attack):
    verdict(CRITERION, attack=attack)


def test_ood_class(verdict, real_class):
    verdict(CRITERION, real_class=real_class)
