"""axe-core finds no violation: every page, light and dark, phone and desktop, with everything opened."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from reports.build import build
from tests.reports import sample
from tests.reports.chrome import SIZES, show
from tests.reports.page import certificate_pages

PACKAGE = "axe_playwright_python"  # bundles a current axe-core; only its script is used
RUN = """
const done = arguments[arguments.length - 1]
const shown = node => node.html.slice(0, 300) + ' ' + node.failureSummary
axe.run(document, { resultTypes: ['violations', 'incomplete'] }).then(found => done([
  found.violations.map(one => [one.id, one.help, one.nodes.slice(0, 3).map(shown)]),
  found.passes.length,
]), error => done([[String(error)], 0]))
"""
OPENED = {
    "index": """
      document.querySelectorAll('.unfold').forEach(one => one.click())
      document.querySelectorAll('.pick').forEach((one, at) => { if (at < 3) one.click() })
      document.getElementById('bar-compare').click()
      document.querySelector('.sort').click()
      document.querySelectorAll('.verdict-cell')[3].focus()""",
    "certificate": "document.querySelectorAll('details').forEach(part => { part.open = true })",
    "viewer": "document.querySelector('.enlarge').click()",
    "checkpoint": "document.querySelectorAll('details').forEach(part => { part.open = true })",
}


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's source; where it is not installed the tests are skipped, but in CI they fail."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        reason = f"axe-core is not installed: pip install {PACKAGE.replace('_', '-')}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return (Path(found.origin).parent / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("axe")
    seeds = [sample.write(folder / str(seed), defense="acet", seed=seed) for seed in range(3)]
    bad = folder / "bad" / "certificate.json"
    bad.parent.mkdir()
    bad.write_text("{}")
    index = build([*sample.several(folder / "results"), *seeds, bad], folder / "site")
    single = next(page for page in certificate_pages(index) if "fakeclass-single" in page.name)
    gate = next(page for page in certificate_pages(index) if "weights" in page.name)
    return {"index": index, "certificate": single, "viewer": single, "checkpoint": gate}


def violations(browser, axe: str) -> list:
    browser.execute_script(axe)
    found, passed = browser.execute_async_script(RUN)
    assert passed > 10, found
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", OPENED)
def test_no_violation(browser, axe, pages, name, size, scheme):
    show(browser, pages[name], size, scheme)
    browser.execute_script(OPENED[name])
    assert violations(browser, axe) == []


def test_a_violation_would_be_found(browser, axe, pages):
    show(browser, pages["index"])
    browser.execute_script("document.querySelector('main').append(document.createElement('button'))")
    browser.execute_script("document.querySelector('h1').style.color = '#ccc'")
    assert {found[0] for found in violations(browser, axe)} == {"button-name", "color-contrast"}
