"""Pages in a headless Chromium, as a phone or a desktop shows them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"phone": (360, 740), "desktop": (1280, 900)}


def start(profile: Path) -> Iterator:
    """A headless Chromium; where it is not installed the tests are skipped, but in CI they fail."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        reason = "chromium and chromedriver are not installed: apt install chromium chromium-driver"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def show(browser, page, size="desktop", scheme="light", **media):
    """Open a page and wait until all of it is there: a busy browser says so before."""
    from selenium.webdriver.support.ui import WebDriverWait

    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    wanted = {"prefers-color-scheme": scheme} | media
    features = {"features": [{"name": name.replace("_", "-"), "value": value} for name, value in wanted.items()]}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.execute_script("window.leftBehind = true")
    browser.get(page.as_uri())
    there = "return !window.leftBehind && document.readyState === 'complete'"
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(there))


class Hosted(NamedTuple):
    """A page that a web host serves; `show` asks it for its address as it asks a path."""

    address: str

    def as_uri(self) -> str:
        return self.address


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Says nothing about requests."""


@contextmanager
def serve(folder: Path) -> Iterator[Callable[[str], Hosted]]:
    """A web host for a folder, while the block runs: the file's name gives the page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield lambda name: Hosted(f"http://127.0.0.1:{server.server_port}/{name}")
        server.shutdown()


def press(browser, *keys: str) -> None:
    """Keys, one after the other, to whatever has the focus."""
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()
