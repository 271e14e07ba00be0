"""Every attack as a fixture. To add one, add its function in a file of its own and its fixture here."""

from __future__ import annotations

from attacks import attack_fixture


@attack_fixture
def l1_sparse():
    from attacks.l1_sparse import l1_sparse

    return l1_sparse


@attack_fixture
def masked():
    from attacks.masked import masked

    return masked


@attack_fixture
def differential_evolution():
    from attacks.differential_evolution import differential_evolution

    return differential_evolution
