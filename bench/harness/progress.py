"""One line that tells what a long run is doing; on a terminal only."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
from tqdm import tqdm


class Progress:
    """Shows the step in hand, how many are done and the time; silent where the output is no terminal.

    Args:
        config: its capture is lifted while a line is written.
    """

    def __init__(self, config: pytest.Config):
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._bar: tqdm | None = None

    def __call__(self, text: str) -> None:
        with self._uncaptured():
            if self._bar is None:
                form = "{desc} [step {n_fmt}, {elapsed}]"
                self._bar = tqdm(bar_format=form, file=sys.stderr, leave=False, disable=None, dynamic_ncols=True)
            self._bar.set_description_str(text, refresh=False)
            self._bar.update()
            self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            with self._uncaptured():
                self._bar.close()

    def _uncaptured(self):
        return self._capture.global_and_fixture_disabled() if self._capture else nullcontext()
