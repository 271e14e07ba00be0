"""Rates and what they prove: one-sided exact bounds, and Holm's correction over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scipy.stats import beta, binom

from bench.record import Ratio

CONFIDENCE = 0.95
Direction = Literal["at_least", "at_most"]


def ratio(successes: int, n: int) -> Ratio:
    """A rate with its one-sided 95% Clopper-Pearson bounds; an empty sample bounds nothing: [0, 1].

    Raises:
        ValueError: counts that are no sample.

    Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}; expected 0 <= successes <= n")
    lower = float(beta.ppf(1 - CONFIDENCE, successes, n - successes + 1)) if successes else 0.0
    upper = float(beta.ppf(CONFIDENCE, successes + 1, n - successes)) if successes < n else 1.0
    return Ratio(successes=successes, n=n, observed=successes / n if n else None, lower=lower, upper=upper)


def meets(rate: Ratio, threshold: float, direction: Direction) -> bool:
    """The bound on the far side meets the threshold: the sample proves it."""
    return rate.lower >= threshold if direction == "at_least" else rate.upper <= threshold


def misses(rate: Ratio, threshold: float, direction: Direction) -> bool:
    """Even the bound on the near side misses the threshold: the sample disproves it."""
    return rate.upper < threshold if direction == "at_least" else rate.lower > threshold


def holm_failures(rates: Sequence[Ratio], threshold: float, direction: Direction) -> list[bool]:
    """Which of several rates miss the threshold after Holm's step-down correction at 5%.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    p_values = [_p_value(rate, threshold, direction) for rate in rates]
    failed = [False] * len(rates)
    order = sorted(range(len(rates)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        if p_values[index] > (1 - CONFIDENCE) / (len(rates) - rank):
            break
        failed[index] = True
    return failed


def _p_value(rate: Ratio, threshold: float, direction: Direction) -> float:
    """Chance of a sample at least this bad if the rate were exactly the threshold."""
    if rate.n == 0:
        return 1.0
    if direction == "at_least":
        return float(binom.cdf(rate.successes, rate.n, threshold))
    return float(binom.sf(rate.successes - 1, rate.n, threshold))
