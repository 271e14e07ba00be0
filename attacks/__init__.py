"""Attacks: one function in one file each. `attack_fixture` gives one its place in every suite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from bench.errors import BadInputError
from bench.harness.registry import ATTACKS, STARTS
from bench.types import Attack


def attack_fixture(
    function: Callable[..., Attack] | None = None,
    *,
    minimises: bool = False,
    judged: bool = False,
    starts: str | None = None,
) -> Callable[..., Attack]:
    """Make a function that returns an attack a session fixture, known to the suites by its name.

    Args:
        function: what is decorated.
        minimises: the attack goes on to the fewest pixels where `threat.k` lets it: with k = 0, to the end of its
            budget. It then also runs for `fooled_from`.
        judged: the attack takes the measuring judge too, as the keyword `judge`.
        starts: what the harness gives the attack as `start`: "survivors" of past rounds and of network B, or "real"
            images of another class.

    Raises:
        pytest.UsageError: another attack has that name, or nothing is known to start from by that word.

    Example:
        @attack_fixture
        def my_attack():
            return my_attack_function
    """
    if function is None:
        return partial(attack_fixture, minimises=minimises, judged=judged, starts=starts)
    if starts not in (None, *STARTS):
        raise pytest.UsageError(f"attack {function.__name__}: starts={starts!r}; expected one of {', '.join(STARTS)}")
    try:
        ATTACKS.register(function.__name__, function)
    except BadInputError as error:
        raise pytest.UsageError(str(error)) from None
    if minimises:
        ATTACKS.minimisers.add(function.__name__)
    if judged:
        ATTACKS.judged.add(function.__name__)
    if starts:
        ATTACKS.started[function.__name__] = starts
    return pytest.fixture(scope="session")(function)
