import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from bench.verdict.stats import holm_failures, meets, misses, ratio


def test_nothing_seen_in_299_proves_at_most_one_percent():
    assert ratio(0, 299).upper <= 0.01
    assert ratio(0, 298).upper > 0.01


def test_an_empty_sample_bounds_nothing():
    empty = ratio(0, 0)
    assert (empty.observed, empty.lower, empty.upper) == (None, 0, 1)
    assert not meets(empty, 0.01, "at_least")
    assert not misses(empty, 0.99, "at_least")


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_agree_with_scipys_two_sided_interval_at_90_percent(sample):
    successes, n = sample
    rate = ratio(successes, n)
    interval = binomtest(successes, n).proportion_ci(0.90, method="exact")
    assert rate.lower == pytest.approx(interval.low, abs=1e-9)
    assert rate.upper == pytest.approx(interval.high, abs=1e-9)


@settings(deadline=None)
@given(st.integers(1, 200), st.floats(0.01, 0.99))
def test_a_true_rate_at_the_threshold_is_misjudged_at_most_one_time_in_twenty(n, rate):
    passes = sum(binom.pmf(s, n, rate) for s in range(n + 1) if ratio(s, n).lower > rate)
    fails = sum(binom.pmf(s, n, rate) for s in range(n + 1) if misses(ratio(s, n), rate, "at_least"))
    assert passes <= 0.05 + 1e-9
    assert fails <= 0.05 + 1e-9


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
def test_counts_that_are_no_sample_are_refused(successes, n):
    with pytest.raises(ValueError, match="expected 0 <= successes"):
        ratio(successes, n)


def test_holm_forgives_what_a_single_test_would_not():
    alone = ratio(25, 30)
    assert misses(alone, 0.95, "at_least")
    assert holm_failures([alone] + [ratio(30, 30)] * 9, 0.95, "at_least") == [False] * 10


def test_holm_catches_a_class_that_is_far_off_in_either_direction():
    assert holm_failures([ratio(30, 30), ratio(10, 30)], 0.95, "at_least") == [False, True]
    assert holm_failures([ratio(0, 30), ratio(9, 30)], 0.01, "at_most") == [False, True]


def test_holm_never_judges_an_empty_class():
    assert holm_failures([ratio(0, 0)] * 3, 0.95, "at_least") == [False] * 3
