"""One browser for all tests of the pages."""

from __future__ import annotations

import pytest

from tests.reports import chrome


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium."""
    yield from chrome.start(tmp_path_factory.mktemp("chromium"))
