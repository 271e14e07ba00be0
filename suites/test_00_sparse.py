"""Criterion 0, sparse: the attack yields confident, sparse images on the undefended control."""

CRITERION = 0


def test_sparse(verdict):
    verdict(CRITERION)


def test_sparse_attack(verdict, attack):
    verdict(CRITERION, attack=attack)


def test_sparse_class(verdict, real_class):
    verdict(CRITERION, real_class=real_class)
