"""Attacks: one function in one file each. `attack_fixture` gives one its place in every suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.harness.registry import ATTACKS
from bench.types import Attack, BadInputError


def attack_fixture(function: Callable[..., Attack]) -> Callable[..., Attack]:
    """Make a function that returns an attack a session fixture, known to the suites by its name.

    Raises:
        pytest.UsageError: another attack has that name.

    Example:
        @attack_fixture
        def my_attack():
            return my_attack_function
    """
    try:
        ATTACKS.register(function.__name__, function)
    except BadInputError as error:
        raise pytest.UsageError(str(error)) from None
    return pytest.fixture(scope="session")(function)
