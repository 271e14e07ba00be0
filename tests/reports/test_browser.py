"""The pages in a real browser: narrow and wide, light and dark."""

from __future__ import annotations

import itertools

import pytest

from reports.build import build
from tests.reports import sample
from tests.reports.chrome import SIZES, show
from tests.reports.page import certificate_pages
from tests.reports.test_hostile import PAYLOAD, hostile, poison


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("browser")
    index = build(sample.several(folder / "results"), folder / "site")
    evil = hostile(folder / "evil")
    evil["defense"] = "unbroken" * 100
    evil["summary"] = PAYLOAD + "W" * 3000
    evil["environment"]["command"] = "x" * 3000
    evil_index = build([sample.write_document(folder / "evil", evil), folder / ("long" * 50)], folder / "evil-site")
    close = sample.document(folder / "close", verdicts="ppppppppfpp") | {"fooled_from": 22, "proved_to": 21}
    close |= {"proof": sample.proof(21, 20)}
    close["frontier"]["per_class"] = {"0": 22}
    close_index = build([sample.write_document(folder / "close", close)], folder / "close-site")
    single = next(page for page in certificate_pages(index) if "fakeclass-single" in page.name)
    many = next(page for page in certificate_pages(index) if "mnist" in page.name)
    return {
        "index": index,
        "certificate": single,
        "many rounds": many,
        "close marks": certificate_pages(close_index)[0],
        "hostile index": evil_index,
        "hostile certificate": certificate_pages(evil_index)[0],
    }


@pytest.mark.parametrize("name", ["index", "certificate", "many rounds", "hostile index", "hostile certificate"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_loads_nothing(browser, pages, name, size, scheme):
    show(browser, pages[name], size, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(part => { part.open = true })")
    width, inner = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert inner == SIZES[size][0], "the viewport would have grown with the page"
    assert width <= inner
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_dark_is_dark(browser, pages):
    papers = []
    for scheme in ("light", "dark"):
        show(browser, pages["index"], scheme=scheme)
        papers.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(252, 252, 250)", "rgb(20, 22, 26)"]


def test_every_picture_is_shown(browser, pages):
    show(browser, pages["certificate"])
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure img')].map(image => image.naturalWidth)"
    )
    assert len(sizes) == 3 + 6 + 7  # of the end, of the rounds, of the same targets over the rounds
    assert all(sizes)


def test_the_leaderboard_stands_whole_on_a_desktop(browser, pages):
    show(browser, pages["index"])
    seen = "[...document.querySelectorAll('.scroll')].filter(box => box.getClientRects().length)"
    assert browser.execute_script(f"return {seen}.map(box => box.scrollWidth - box.clientWidth)") == [0, 0]


def test_the_keyboard_reaches_links_and_wide_tables(browser, pages):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(browser, pages["certificate"], "phone")
    reached = []
    for _ in range(60):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(
            browser.execute_script("return document.activeElement.className || document.activeElement.tagName")
        )
    assert reached[0] == "skip"
    assert any(name.startswith("scroll") for name in reached)
    assert "SUMMARY" in reached


BOXES = """
const figure = [...document.querySelectorAll('.proof-chart')].filter(one => one.getClientRects().length)
if (figure.length != 1) return figure.length
const box = one => { const at = one.getBoundingClientRect(); return [at.left, at.top, at.right, at.bottom] }
return [figure[0].getAttribute('width'), [...figure[0].querySelectorAll('text')].map(box)]
"""


@pytest.mark.parametrize("name", ["certificate", "close marks"])
@pytest.mark.parametrize(("size", "drawn"), [("phone", "328"), ("desktop", "704")])
def test_one_figure_of_the_proof_is_shown_and_its_words_never_overlap(browser, pages, name, size, drawn):
    show(browser, pages[name], size)
    width, boxes = browser.execute_script(BOXES)
    assert width == drawn
    assert len(boxes) > 12
    for left, _, right, _ in boxes:
        assert left >= 0
        assert right <= SIZES[size][0]
    for one, other in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] + 2 or other[3] <= one[1] + 2
        assert apart, (one, other)


def test_a_verdict_leads_to_its_criterion(browser, pages):
    show(browser, pages["index"])
    link = browser.find_element("css selector", "a.verdict-cell[href$='#criterion-8']")
    browser.execute_script("arguments[0].click()", link)
    assert browser.find_element("id", "criterion-8").text.startswith("8")


def test_poison_changes_every_free_text():
    assert poison({"name": "x", "verdict": "pass", "means": {"a": 1}}) == {
        "name": PAYLOAD + "x",
        "verdict": "pass",
        "means": {PAYLOAD + "a": 1},
    }
