"""The clock of the speed runs: processor time, which other work on the machine does not slow down as much."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """What some work took, in seconds of this process, and what it gave."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result
