"""What each named budget buys. No torch here: certificates are read against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BudgetPlan:
    """What one named budget buys.

    Args:
        images: targets per attack, in every place it is measured.
        passes: forward plus backward passes per image, for measuring, over all restarts.
        restarts: how often an attack may start on a target, for measuring.
        rounds: most rounds of training.
        heldout: images the harness makes for each round.
        certifies: whether its samples can prove what criterion 8 asks.
        leaves_out: attacks that are not run unless they are asked for by name.
    """

    name: str
    images: int
    passes: int
    restarts: int
    rounds: int
    heldout: int
    certifies: bool
    leaves_out: tuple[str, ...] = ()

    @property
    def training_passes(self) -> int:
        """The most passes training may spend on an image: always less than the suites measure with."""
        return self.passes // self.restarts // 2


# The rest of the ensemble: `standard` keeps to the required attacks and the quickest strong one, to fit in minutes.
FULL_ONLY = (
    "ead",
    "fmn_l0",
    "fmn_l1",
    "from_real",
    "greedy_saliency",
    "map_elites",
    "ood_aware",
    "pgd_l0",
    "sigma_zero",
    "sparse_pgd_projected",
    "sparse_rs",
    "transfer",
)
BUDGETS = {
    plan.name: plan
    for plan in (
        BudgetPlan("quick", 60, 600, 1, 4, 40, False, FULL_ONLY),
        BudgetPlan("standard", 300, 2_000, 2, 20, 100, True, FULL_ONLY),
        BudgetPlan("full", 1_000, 10_000, 4, 100, 300, True),
    )
}
