"""Every attack as a fixture. To add one, add its function in a file of its own and its fixture here.

The functions are imported when a run asks for them: the suites' names are wanted long before torch is.
"""

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


@attack_fixture(minimises=True)
def sigma_zero():
    from attacks.sigma_zero import sigma_zero

    return sigma_zero


@attack_fixture(minimises=True)
def fmn_l0():
    from attacks.fmn import fmn_l0

    return fmn_l0


@attack_fixture(minimises=True)
def fmn_l1():
    from attacks.fmn import fmn_l1

    return fmn_l1


@attack_fixture(minimises=True)
def ead():
    from attacks.ead import ead

    return ead


@attack_fixture(minimises=True)
def pgd_l0():
    from attacks.pgd_l0 import pgd_l0

    return pgd_l0


@attack_fixture
def sparse_pgd_projected():
    from attacks.sparse_pgd import sparse_pgd_projected

    return sparse_pgd_projected


@attack_fixture
def sparse_pgd_unprojected():
    from attacks.sparse_pgd import sparse_pgd_unprojected

    return sparse_pgd_unprojected


@attack_fixture
def sparse_rs():
    from attacks.sparse_rs import sparse_rs

    return sparse_rs


@attack_fixture
def greedy_saliency():
    from attacks.greedy_saliency import greedy_saliency

    return greedy_saliency


@attack_fixture
def map_elites():
    from attacks.map_elites import map_elites

    return map_elites


@attack_fixture(judged=True)
def ood_aware():
    from attacks.ood_aware import ood_aware

    return ood_aware


@attack_fixture(starts="survivors")
def transfer():
    from attacks.onward import onward

    return onward


@attack_fixture(starts="real")
def from_real():
    from attacks.onward import onward

    return onward
