"""A certificate's page in a real browser: images enlarged, rounds played, the command copied."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from reports.build import build
from tests.reports import sample
from tests.reports.chrome import press, show
from tests.reports.page import certificate_pages
from tests.reports.test_hostile import hostile

CAPTION = "{} · p 0.9{} · {} px · judge 3.1{} · fooling"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    data = sample.document(folder / "one", verdicts="ppppppppfpp", total_rounds=5)
    captions = [CAPTION.format(place % 10, place % 10, place, place % 7) for place in range(40)]
    steps = [step["sheet"] for step in data["evolution"]]
    for sheet in [*data["sheets"], *(round_["sheet"] for round_ in data["rounds"][1:])]:
        sheet["captions"] = captions
    for sheet in steps:
        sheet["captions"] = captions[:20]
    return certificate_pages(build([sample.write_document(folder / "one", data)], folder / "site"))[0]


@pytest.fixture
def shown(browser, page):
    show(browser, page)
    return browser


def focus(browser, selector: str):
    browser.execute_script("document.querySelector(arguments[0]).focus()", selector)


def facts(browser) -> dict[str, str]:
    texts = [part.text for part in browser.find_elements(By.CSS_SELECTOR, "#viewer-facts > *")]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def wait(browser, seconds: float = 0.3):
    ActionChains(browser).pause(seconds).perform()


def test_the_page_answers_in_order(shown):
    places = [
        shown.execute_script("return document.getElementById(arguments[0]).getBoundingClientRect().top", name)
        for name in ("result", "breaks", "verdicts", "images", "rounds", "reproduce")
    ]
    assert places == sorted(places)
    jumps = [link.get_attribute("href").partition("#")[2] for link in shown.find_elements(By.CSS_SELECTOR, ".jump a")]
    assert jumps == ["breaks", "verdicts", "images", "rounds", "reproduce"]


def test_an_image_is_enlarged_by_keyboard_with_all_that_is_known_of_it(shown):
    viewer = shown.find_element(By.ID, "viewer")
    assert not viewer.is_displayed()
    focus(shown, "figure .enlarge")
    press(shown, Keys.ENTER)
    wait(shown)
    assert viewer.is_displayed()
    assert facts(shown) == {
        "Target": "0",
        "p": "0.90",
        "Pixels": "0",
        "Judge's score": "3.10",
        "Outcome": "fooling",
        "Made by": "l1_sparse against the final network",
    }
    press(shown, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert facts(shown)["Pixels"] == "11"
    assert shown.find_element(By.ID, "viewer-place").text == "12 of 40"
    press(shown, Keys.END, Keys.ARROW_RIGHT)
    assert facts(shown)["Pixels"] == "39"
    press(shown, Keys.ESCAPE)
    assert not viewer.is_displayed()
    assert shown.execute_script("return document.activeElement.className") == "enlarge"


def test_the_image_that_is_clicked_is_the_one_shown(shown):
    button = shown.find_element(By.CSS_SELECTOR, "figure .enlarge")
    shown.execute_script("arguments[0].scrollIntoView({ block: 'center' })", button)
    size = button.size
    across, down = (3.5 / 10 - 0.5) * size["width"], (2.5 / 4 - 0.5) * size["height"]
    ActionChains(shown).move_to_element_with_offset(button, round(across), round(down)).click().perform()
    wait(shown)
    assert facts(shown)["Pixels"] == "23"
    lit = """const it = document.getElementById('viewer-canvas')
      const drawn = it.getContext('2d').getImageData(0, 0, it.width, it.height).data
      return drawn.some((value, at) => at % 4 < 3 && value > 80)"""
    assert shown.execute_script(lit)
    sheet = shown.find_element(By.ID, "viewer-image")
    ActionChains(shown).move_to_element_with_offset(sheet, round(-sheet.size["width"] / 2) + 8, 8).click().perform()
    assert facts(shown)["Pixels"] == "20"
    shown.find_element(By.ID, "viewer-next").click()
    assert facts(shown)["Pixels"] == "21"
    shown.find_element(By.ID, "viewer-close").click()
    assert not shown.find_element(By.ID, "viewer").is_displayed()


def frames(browser) -> list[int]:
    """Which rounds' sheets are seen."""
    script = "return [...document.querySelectorAll('#frames figure')].map(one => one.getClientRects().length > 0)"
    return [place for place, seen in enumerate(browser.execute_script(script)) if seen]


def test_a_round_is_named_with_its_attack(shown):
    focus(shown, "#frames .enlarge")
    press(shown, Keys.ENTER)
    wait(shown)
    assert facts(shown)["Made by"] == "l1_sparse"


def test_rounds_are_stepped_by_buttons_slider_and_keys(shown):
    assert frames(shown) == [0]
    focus(shown, "#player-next")
    press(shown, Keys.ENTER)
    assert frames(shown) == [1]
    said = shown.find_element(By.ID, "player-now").text
    assert said == "Round 1: the same targets: 15 fooling, 5 in distribution (2 of 5)"
    press(shown, Keys.ARROW_RIGHT)
    assert frames(shown) == [2]
    press(shown, Keys.HOME)
    assert frames(shown) == [0]
    focus(shown, "#player-place")
    press(shown, Keys.END)
    assert frames(shown) == [4]
    assert shown.find_element(By.ID, "player-place").get_attribute("aria-valuetext") == "Round 4: the same targets"
    assert shown.find_element(By.ID, "player-now").text.endswith(", selected (5 of 5)")
    shown.find_element(By.ID, "player-back").click()
    assert frames(shown) == [3]
    shown.find_element(By.ID, "player-all").click()
    assert frames(shown) == [0, 1, 2, 3, 4]
    shown.find_element(By.ID, "player-all").click()
    assert frames(shown) == [3]


def test_a_cell_stands_still_while_rounds_are_stepped(shown):
    def box():
        return shown.execute_script(
            "const seen = [...document.querySelectorAll('#frames img')].find(one => one.getClientRects().length)"
            "\nconst at = seen.getBoundingClientRect(); return [at.left, at.top + scrollY, at.width, at.height]"
        )

    first = box()
    focus(shown, "#player-next")
    for _ in range(4):
        press(shown, Keys.ENTER)
        assert box() == first


def test_a_rounds_own_images_are_reached_from_its_row(shown):
    figure = shown.find_element(By.ID, "round-images-2")
    assert not figure.is_displayed()
    focus(shown, 'a[href="#round-images-2"]')
    press(shown, Keys.ENTER)
    wait(shown)
    assert figure.is_displayed()
    assert figure.get_attribute("data-title") == "Round 2: l1_sparse"
    top, height = shown.execute_script("return [arguments[0].getBoundingClientRect().top, innerHeight]", figure)
    assert 0 <= top < height
    assert "success " in figure.text


def test_without_an_evolution_the_rounds_own_sheets_are_played(browser, tmp_path):
    data = sample.document(tmp_path / "one", total_rounds=5) | {"evolution": []}
    show(browser, certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "site"))[0])
    assert frames(browser) == [0]
    focus(browser, "#player-next")
    press(browser, Keys.ENTER)
    assert browser.find_element(By.ID, "player-now").text.startswith("Round 2: l1_sparse: success ")
    press(browser, Keys.END)
    assert frames(browser) == [3]
    assert "The same targets" not in browser.find_element(By.TAG_NAME, "main").text


def test_the_evolution_plays_pauses_and_ends(shown):
    play = shown.find_element(By.ID, "player-play")
    focus(shown, "#player-play")
    press(shown, Keys.SPACE)
    assert play.text == "Pause"
    wait(shown, 1.2)
    assert frames(shown) != [0]
    press(shown, Keys.SPACE)
    assert play.text == "Play"
    paused = frames(shown)
    wait(shown, 1.2)
    assert frames(shown) == paused
    press(shown, Keys.SPACE)
    wait(shown, 5)
    assert frames(shown) == [4]
    assert play.text == "Play"
    press(shown, Keys.SPACE)
    assert frames(shown) == [0], "at the end it starts anew"


def test_nothing_moves_where_less_motion_is_asked_for(browser, page):
    show(browser, page, prefers_reduced_motion="reduce")
    assert not browser.find_element(By.ID, "player-play").is_displayed()
    assert browser.find_element(By.ID, "player-still").is_displayed()
    browser.find_element(By.ID, "player-next").click()
    wait(browser, 1.2)
    assert frames(browser) == [1]


def test_nothing_plays_by_itself(shown):
    wait(shown, 1.2)
    assert frames(shown) == [0]


def test_the_command_is_copied(shown):
    focus(shown, "#copy")
    press(shown, Keys.ENTER)
    wait(shown)
    assert shown.find_element(By.ID, "copied").text == "Copied."
    shown.execute_script("document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste' }))")
    focus(shown, "#paste")
    ActionChains(shown).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
    command = "pytest suites/ --dataset=digits --defense=fakeclass --seed=0"
    assert shown.find_element(By.ID, "paste").get_attribute("value") == command


def test_without_script_every_round_and_caption_is_there(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page)
        assert len([one for one in browser.find_elements(By.CSS_SELECTOR, "#frames figure") if one.is_displayed()]) == 5
        assert not any(button.is_displayed() for button in browser.find_elements(By.TAG_NAME, "button"))
        browser.find_element(By.CSS_SELECTOR, "figure summary").click()
        assert browser.find_element(By.CSS_SELECTOR, "figure .captions").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_a_hostile_caption_stays_text_and_inside(browser, tmp_path, size):
    data = hostile(tmp_path / "one")
    index = build([sample.write_document(tmp_path / "one", data)], tmp_path / "site")
    show(browser, certificate_pages(index)[0], size)
    focus(browser, "#frames .enlarge")
    press(browser, Keys.ENTER)
    wait(browser)
    said = browser.find_element(By.ID, "viewer").text
    assert "<script>alert(1)</script>" in said
    assert browser.execute_script("return document.querySelectorAll('#viewer img, #viewer svg').length") == 1
    assert browser.execute_script("return document.scripts.length") == 1
    width, inner = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert width <= inner
    box = browser.execute_script(
        "const at = document.getElementById('viewer'); return [at.scrollWidth, at.clientWidth]"
    )
    assert box[0] <= box[1]
    press(browser, Keys.ESCAPE)
    assert browser.get_log("browser") == []
