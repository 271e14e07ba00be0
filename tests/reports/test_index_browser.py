"""The index in a real browser: sorting, filtering, folding of seeds, verdicts that explain themselves, comparison."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bench.record import read_certificate
from reports.build import build
from reports.identity import identity
from reports.ledger import Verification, enter
from tests.reports import sample
from tests.reports.chrome import press, show
from tests.reports.test_hostile import hostile

NAMES = """return [...document.querySelectorAll('#main section')[0].querySelectorAll('tbody')]
  .filter(body => body.getClientRects().length).map(body => body.querySelector('a, .name').textContent)"""
ROWS = """return [...document.querySelectorAll('.board tbody tr:not(.family)')]
  .filter(row => row.getClientRects().length).map(row => row.cells[0].innerText.trim().replace(/\\s+/g, ' '))"""
CELL = """const at = document.activeElement
  return [...at.closest('tr').querySelectorAll('.verdict-cell')].indexOf(at)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    seeds = [
        sample.write(folder / str(seed), defense="acet", seed=seed, verdicts=f"pppppppp{last}pp")
        for seed, last in enumerate("pfi")
    ]
    unknown = sample.document(folder / "unknown", defense="max_entropy", verdicts="ppppppppipp")
    unknown["criteria"][8] |= {"observed": None, "bound": None, "n": 0, "per_attack": [], "per_class": []}
    return build(
        [*sample.several(folder / "results"), *seeds, sample.write_document(folder / "unknown", unknown)],
        folder / "out",
    )


@pytest.fixture
def index(browser, site):
    show(browser, site)
    return browser


def head(browser, text: str):
    buttons = browser.find_elements(By.CSS_SELECTOR, ".board thead .sort")
    return next(button for button in buttons if " ".join(button.text.split()) == text)


def choose(browser, name: str, value: str):
    browser.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', { bubbles: true }))",
        name,
        value,
    )


def sorted_by(browser) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('th[aria-sort]')].map(one => one.ariaSort)")


def test_a_click_sorts_and_says_so(index):
    before = index.execute_script(NAMES)
    head(index, "Model").click()
    assert index.execute_script(NAMES) == sorted(before)
    assert sorted_by(index).count("ascending") == 1
    head(index, "Model").click()
    assert index.execute_script(NAMES) == sorted(before, reverse=True)
    assert sorted_by(index).count("descending") == 1
    assert sorted_by(index).count("ascending") == 0


def test_unknown_values_stand_last_both_ways(index):
    for _ in range(2):
        head(index, "Fooled").click()
        assert index.execute_script(NAMES)[-1] == "max_entropy"


def test_the_keyboard_sorts(index):
    index.execute_script("arguments[0].focus()", head(index, "Test accuracy"))
    press(index, Keys.ENTER)
    rates = index.execute_script(
        "return [...document.querySelectorAll('.board')[0].tBodies].map(body => body.dataset.k.split(' ')[2])"
    )
    known = [float(rate) for rate in rates if rate != "-"]
    assert known == sorted(known, reverse=True)
    press(index, Keys.SPACE)
    assert index.execute_script("return document.activeElement.closest('th').ariaSort") == "ascending"


def test_a_criterion_sorts_by_how_bad_its_verdict_is(index):
    head(index, "8").click()
    marks = index.execute_script(
        "return [...document.querySelectorAll('.board')[0].tBodies]"
        ".map(body => body.querySelectorAll('td.v b')[8].className)"
    )
    assert marks == sorted(marks, key="finp".index)
    assert set(marks) == {"f", "i", "p"}


def test_text_filters_rows(index):
    index.find_element(By.ID, "find").send_keys("DIGITS weights")
    assert index.execute_script(ROWS) == ["weights.safetensors cnn"]
    assert index.find_element(By.ID, "shown").text == "1 of 10 models"
    index.find_element(By.CSS_SELECTOR, "#filters button").click()
    ActionChains(index).pause(0.2).perform()
    assert index.find_element(By.ID, "shown").text == "10 of 10 models"


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"result": "yes"}, 3),
        ({"result": "no"}, 7),
        ({"result": "i"}, 3),
        ({"scope": "model"}, 1),
        ({"scope": "process", "result": "f"}, 3),
        ({"verdict": "n"}, 2),
        ({"which": "8", "verdict": "f"}, 3),
        ({"which": "8", "verdict": "i"}, 3),
        ({"which": "0", "verdict": "f"}, 0),
    ],
)
def test_verdicts_and_scope_filter_rows(index, fields, count):
    for name, value in fields.items():
        choose(index, name, value)
    assert index.find_element(By.ID, "shown").text == f"{count} of 10 models"


def test_the_verified_are_found_by_their_mark(browser, tmp_path):
    paths = [sample.write(tmp_path / str(number), defense=name) for number, name in enumerate(("acet", "pgd_at"))]
    check = Verification(revision="abc", packages={}, date="2026-11-24", taken_on_trust=())
    enter(tmp_path / "ledger.json", identity(read_certificate(paths[1])), check)
    show(browser, build(paths, tmp_path / "site", tmp_path / "ledger.json"))
    choose(browser, "checked", "yes")
    assert [name.split()[0] for name in browser.execute_script(ROWS)] == ["pgd_at"]
    assert browser.find_element(By.ID, "shown").text == "1 of 2 models"
    assert browser.find_element(By.CSS_SELECTOR, ".board .verified").text == "\N{BLACK DIAMOND} Verified"


def test_seeds_fold_and_unfold(index):
    assert not any("seed" in row for row in index.execute_script(ROWS))
    family = index.find_element(By.CSS_SELECTOR, "tr.family")
    assert "3 seeds: 0, 1, 2" in family.text
    assert "1 of 3 certified" in family.text
    assert "0 to\n51" in family.text, "the spread stands below the median"
    button = family.find_element(By.CSS_SELECTOR, ".unfold")
    index.execute_script("arguments[0].focus()", button)
    press(index, Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    assert [row for row in index.execute_script(ROWS) if "seed" in row] == ["acet seed 0", "acet seed 1", "acet seed 2"]
    press(index, Keys.ENTER)
    assert not any("seed" in row for row in index.execute_script(ROWS))


def tip(browser) -> str:
    box = browser.find_element(By.ID, "tip")
    return " ".join(box.text.split()) if box.is_displayed() else ""


def seen_broken(browser):
    script = """return [...document.querySelectorAll("tr:not(.family) .verdict-cell[href$='#criterion-8']")]
      .find(cell => cell.getClientRects().length && cell.querySelector('b.f'))"""
    return browser.execute_script(script)


def test_a_verdict_explains_itself_on_focus_and_escape_closes_it(index):
    cell = seen_broken(index)
    index.execute_script("arguments[0].focus()", cell)
    assert tip(index).startswith(
        "8 final network: ✕ fail No attack of the ensemble fools the final network. observed 17.0%, "
    )
    assert "allowed ≤ 1%, n 300" in tip(index)
    assert "train more rounds, or stronger." in tip(index)
    assert cell.get_attribute("aria-describedby") == "tip"
    assert cell.accessible_name == "8 fail"
    press(index, Keys.ESCAPE)
    assert tip(index) == ""
    assert cell.get_attribute("aria-describedby") is None


def test_a_verdict_explains_itself_on_pointing_and_stays_while_pointed_at(index):
    ActionChains(index).move_to_element(seen_broken(index)).perform()
    assert tip(index).startswith("8 final network: ✕ fail")
    ActionChains(index).move_to_element(index.find_element(By.ID, "tip")).pause(0.4).perform()
    assert tip(index).startswith("8 final network: ✕ fail")
    ActionChains(index).move_to_element(index.find_element(By.TAG_NAME, "h1")).pause(0.5).perform()
    assert tip(index) == ""


def test_a_first_touch_explains_and_a_second_one_follows(index):
    place = (
        "const box = arguments[0].getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]"
    )

    def touch():
        cell = seen_broken(index)
        index.execute_script("arguments[0].scrollIntoView({ block: 'center', inline: 'center' })", cell)
        x, y = index.execute_script(place, cell)
        for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
            index.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        ActionChains(index).pause(0.5).perform()

    touch()
    assert tip(index).startswith("8 final network: ✕ fail")
    assert "index.html" in index.current_url
    touch()
    assert index.current_url.endswith("#criterion-8")


def test_arrow_keys_move_between_verdicts_and_tab_stops_once(index):
    stops = "return document.querySelectorAll('.board')[0].querySelectorAll(\".verdict-cell[tabindex='0']\").length"
    assert index.execute_script(stops) == 1
    index.execute_script("document.querySelector(\".verdict-cell[tabindex='0']\").focus()")
    assert index.execute_script(CELL) == 0
    press(index, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert index.execute_script(CELL) == 2
    assert tip(index).startswith("2 just trained")
    row = """const at = document.activeElement, body = at.closest('tbody')
      return at.closest('tr').sectionRowIndex + 100 * [...at.closest('table').tBodies].indexOf(body)"""
    before = index.execute_script(row)
    press(index, Keys.ARROW_DOWN, Keys.END)
    assert index.execute_script(row) > before
    assert index.execute_script(CELL) == 10
    press(index, Keys.HOME, Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert (index.execute_script(CELL), index.execute_script(row)) == (0, before)
    assert index.execute_script(stops) == 1


@pytest.mark.parametrize("way", ["sort", "filter"])
def test_the_tab_key_still_finds_a_verdict_after(index, way):
    if way == "sort":
        head(index, "Model").click()
    else:
        choose(index, "find", "single")
    seen = """return [...document.querySelectorAll('.board')[0].querySelectorAll(".verdict-cell[tabindex='0']")]
      .filter(cell => cell.getClientRects().length).length"""
    assert index.execute_script(seen) == 1


def tick(browser, *names: str):
    for name in names:
        script = "return [...document.querySelectorAll('.pick')].find(box => box.ariaLabel.startsWith(arguments[0]))"
        box = browser.execute_script(script, f"Compare {name}")
        browser.execute_script("arguments[0].focus()", box)
        press(browser, Keys.SPACE)


def test_comparison_by_keyboard(index):
    view = index.find_element(By.ID, "compare")
    assert not index.find_element(By.ID, "bar").is_displayed()
    tick(index, "undefended")
    assert not index.find_element(By.ID, "bar-compare").is_enabled()
    tick(index, "weights")
    index.execute_script("document.getElementById('bar-compare').focus()")
    press(index, Keys.ENTER)
    assert view.is_displayed()
    table = index.find_element(By.CSS_SELECTOR, ".compare")
    heads = [one.text.split("\n")[0] for one in table.find_elements(By.CSS_SELECTOR, "thead th")]
    assert heads == ["Figure", "undefended", "weights.safetensors"]
    rows = {
        row.find_element(By.TAG_NAME, "th").text.split("\n")[0]: row
        for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
    }
    assert list(rows)[:2] + list(rows)[13:] == [
        *("Certified", "Fooled", "Test accuracy", "Confident accuracy", "Proved up to", "Reached from", "Cost"),
        "Budget, seed",
    ]
    assert [cell.text.split("\n")[0] for cell in rows["8 final network"].find_elements(By.TAG_NAME, "td")] == [
        "✕ fail",
        "✓ pass",
    ]
    assert "≠ differs" in rows["8 final network"].text
    assert "≠ differs" not in rows["0 sparse"].text
    assert "17.0%, bound 13.5%, allowed ≤ 1%, n 300" in rows["8 final network"].text
    assert [cell.text for cell in rows["Fooled"].find_elements(By.TAG_NAME, "td")] == ["51\nof 300", "0\nof 2\u202f990"]
    tick(index, "fakeclass_single")
    assert len(index.find_elements(By.CSS_SELECTOR, ".compare thead th")) == 4
    index.find_element(By.ID, "compare-close").click()
    assert not view.is_displayed()
    assert index.execute_script("return document.activeElement.id") == "bar-compare"
    index.find_element(By.ID, "bar-clear").click()
    assert not index.find_element(By.ID, "bar").is_displayed()
    assert not index.execute_script("return [...document.querySelectorAll('.pick')].some(box => box.checked)")


def test_what_was_ticked_stays_ticked_over_filter_and_sort(index):
    tick(index, "undefended", "weights")
    choose(index, "find", "single")
    head(index, "Model").click()
    index.find_element(By.ID, "bar-compare").click()
    assert len(index.find_elements(By.CSS_SELECTOR, ".compare thead a")) == 2


def test_the_keyboard_alone_reaches_every_control(index):
    reached = set()
    for _ in range(90):
        press(index, Keys.TAB)
        reached.add(
            index.execute_script("const at = document.activeElement; return at.id || at.className || at.tagName")
        )
    wanted = {"skip", "find", "result", "which", "verdict", "scope", "sort", "pick", "unfold", "verdict-cell", "A"}
    assert wanted <= reached


def test_without_script_it_is_a_plain_table(browser, site):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, site)
        rows = [row for row in browser.find_elements(By.CSS_SELECTOR, ".board tbody tr") if row.is_displayed()]
        assert len(rows) == 11
        assert not any(button.is_displayed() for button in browser.find_elements(By.TAG_NAME, "button"))
        assert not browser.find_element(By.ID, "filters").is_displayed()
        browser.find_element(By.CSS_SELECTOR, ".board a").click()
        assert browser.find_element(By.ID, "verdicts").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_what_the_script_writes_of_a_hostile_certificate_is_text(browser, tmp_path):
    paths = []
    for seed in range(3):
        data = hostile(tmp_path / str(seed))
        data["environment"]["seed"] = seed
        if seed == 2:
            data["defense"] += "other"
        paths.append(sample.write_document(tmp_path / str(seed), data))
    show(browser, build(paths, tmp_path / "site"))
    browser.execute_script("document.querySelectorAll('.unfold').forEach(one => one.click())")
    browser.execute_script("document.querySelectorAll('.pick').forEach(one => one.click())")
    browser.execute_script("document.getElementById('bar-compare').click()")
    for cell in browser.execute_script(
        "return [...document.querySelectorAll('.seed .verdict-cell:has(.f)')].slice(0, 24)"
    ):
        browser.execute_script("arguments[0].focus()", cell)
    assert "<script>alert(1)</script>" in tip(browser)
    assert "<script>alert(1)</script>" in browser.find_element(By.ID, "compare").text
    assert browser.execute_script("return document.querySelectorAll('img, svg, iframe, object').length") == 0
    assert browser.execute_script("return document.scripts.length") == 2
    assert not browser.execute_script(
        "return [...document.querySelectorAll('*')]"
        ".some(one => [...one.attributes].some(has => has.name.startsWith('on')))"
    )
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    width, inner = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert width <= inner
