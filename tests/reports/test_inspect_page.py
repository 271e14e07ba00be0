"""The inspection page of a real run, in a real browser: a whole inspection by keyboard, from images to certificate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import bench.inspection
from bench.inspection import Shown
from reports.__main__ import main
from reports.build import build
from reports.entry import read_checked
from reports.identity import identity
from reports.inspect_files import Key, page_id, read_key
from reports.inspect_page import _known, _named, _rendered
from tests.reports import sample, test_axe
from tests.reports.chrome import SIZES, press, serve, show
from tests.reports.page import STATIC, Page, certificate_pages, read
from tests.reports.test_hostile import PAYLOAD
from tests.reports.test_inspect_merge import ANN, BOB, Inspected

IMAGES = 20
STATES = {
    "start": [],
    "question": [Keys.ENTER],
    "class": [Keys.ENTER, "y"],
    "marked": [Keys.ENTER, "n", Keys.ARROW_LEFT],
    "end": [Keys.ENTER, *[Keys.ARROW_RIGHT] * IMAGES],
}
axe = test_axe.axe


@pytest.fixture(scope="module")
def made(undefended_root, tmp_path_factory):
    """The folder of a small run with its page, `look.html`."""
    (folder,) = shutil.copytree(undefended_root, tmp_path_factory.mktemp("inspected") / "runs").glob("digits-*")
    assert inspection(folder) == 0
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """The same run, to be spoiled."""
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture(scope="module")
def served(made):
    """The page from a web host: what is stored at once after loading a page from disk, Chromium may not find again."""
    with serve(made) as host:
        yield host("look.html")


@pytest.fixture
def fresh(browser, served):
    """The page as nobody has seen it before."""
    show(browser, served)
    browser.execute_script("localStorage.clear()")
    show(browser, served)
    return browser


def inspection(folder, *options: str, out: str = "look.html") -> int:
    return main(["inspection", str(folder), "--out", str(folder / out), f"--images={IMAGES}", *options])


def images_of(folder) -> list[str]:
    """Items in the order of the page."""
    return [image["item"] for image in data_of(read(folder / "look.html"))["images"]]


def data_of(page: Page) -> dict:
    """What the page's script works on."""
    (data,) = [text for kind, text in page.scripts if kind == "application/json" and text.strip()]
    return json.loads(data)


def fits(browser, size: str) -> bool:
    """Nothing scrolls sideways; by the screen's width, for a phone zooms out until `innerWidth` holds anything."""
    return browser.execute_script("return document.scrollingElement.scrollWidth") <= SIZES[size][0]


def text(browser, name: str) -> str:
    return browser.find_element(By.ID, name).text


def test_images_are_balanced_and_the_key_tells_what_they_are(made):
    key = read_key(made / "look.key.json")
    assert key.certificate == identity(read_checked(made / "certificate.json"))
    kinds = [(item.kind, item.place, item.attack) for item in key.items.values()]
    assert kinds.count(("real", None, None)) == IMAGES // 2
    assert kinds.count(("generated", "control", "l1_sparse")) == IMAGES // 4
    assert kinds.count(("generated", "final", "l1_sparse")) == IMAGES // 4
    real = [item.label for item in key.items.values() if item.kind == "real"]
    assert sorted(real) == list(map(str, range(10)))
    assert all(item.rejected_working for item in key.items.values() if item.rejected_strict)
    assert any(item.rejected_strict for item in key.items.values() if item.kind == "generated")


def test_the_page_does_not_tell_which_is_which(made):
    source = (made / "look.html").read_text("utf-8")
    key = read_key(made / "look.key.json")
    told = ["l1_sparse", "generated", "safetensors", "cascade", "rejected", "digits-undefended", "undefended"]
    told += [repr(item.score)[:8] for item in key.items.values()]
    assert not [word for word in told if word in source]
    shown = data_of(Page(source))
    assert set(shown) == {"certificate", "page", "classes", "images"}
    assert {frozenset(image) for image in shown["images"]} == {frozenset({"item", "png"})}
    assert images_of(made) == sorted(images_of(made)), "an order that says nothing"
    heads = {image["png"][:44] for image in shown["images"]}
    assert len(heads) == 1, "signature, size and colours of every image are the same"


def test_an_items_name_holds_its_pixels_alone():
    images = [image(n) for n in range(4)]
    swapped = [replace(one, kind="generated", place="final", attack="masked", score=9.0) for one in reversed(images)]
    assert list(_named(images, "salt")) == list(_named(swapped, "salt"))
    assert not set(_named(images, "salt")) & set(_named(images, "pepper"))
    assert len(_named([images[0], images[0]], "salt")) == 2


def image(number: int) -> Shown:
    return Shown(sample.sheet_png(number, cells=1), "real", None, None, "1", 0.5, False, False)


def test_a_whole_inspection_by_keyboard_reaches_the_certificate(fresh, made, tmp_path):
    browser, key, order = fresh, read_key(made / "look.key.json"), images_of(made)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    press(browser, Keys.ENTER)
    assert text(browser, "place") == f"Image 1 of {IMAGES}"
    press(browser, "y", "3", "n")
    assert text(browser, "count") == f"2 of {IMAGES} marked"
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert text(browser, "mark") == "Your mark: could be real: 3."
    press(browser, "n", Keys.ARROW_LEFT)
    assert text(browser, "mark") == "Your mark: not real."
    press(browser, Keys.BACKSPACE)
    assert text(browser, "mark") == "Your mark: could be real: 3."
    press(browser, Keys.BACKSPACE, Keys.BACKSPACE, "y", Keys.BACKSPACE)
    assert text(browser, "count") == f"0 of {IMAGES} marked"
    assert text(browser, "question") == "Could this be a real digit?"
    truth = {}
    for place, item in enumerate(order):
        known = key.items[item]
        label = None if place == IMAGES - 1 else known.label
        truth[item] = (known.kind == "real", label if known.kind == "real" else None)
        press(browser, *(("y", label or "-") if known.kind == "real" else ("n",)))
    assert text(browser, "done") == f"All {IMAGES} images are marked"
    press(browser, Keys.TAB, *"Ann y3nx", Keys.BACKSPACE, Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.TAB, Keys.ENTER)
    (saved,) = WebDriverWait(browser, 60).until(lambda _: list(tmp_path.glob("inspection-*-Ann-y3n.json")))
    assert text(browser, "saved").startswith(f"Saved {IMAGES} marks as {saved.name}")
    written = json.loads(saved.read_text())
    assert set(written) == {"schema_version", "certificate", "page", "rater", "marks"}
    assert {mark["item"]: (mark["real"], mark["label"]) for mark in written["marks"]} == truth
    assert 0 < sum(mark["seconds"] for mark in written["marks"]) < 100
    certificate = shutil.copytree(made, tmp_path / "run") / "certificate.json"
    arguments = ["--certificate", str(certificate), "--key", str(made / "look.key.json")]
    assert main(["inspect", str(saved), *arguments]) == 0
    human = read_checked(certificate).human
    assert human.pooled.false_alarms.successes == human.pooled.control_taken.successes == 0
    show(browser, certificate_pages(build([certificate], tmp_path / "site"))[0], "phone")
    section = browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=people]").text
    assert f"1 person looked at {IMAGES} images, {IMAGES // 2} of them real" in section
    assert "Ann y3n" in section
    assert fits(browser, "phone")


def test_it_goes_on_where_it_was_left(fresh, served):
    press(fresh, Keys.ENTER, "n", "n", "y", "7")
    show(fresh, served)
    assert text(fresh, "begin") == "Go on"
    assert text(fresh, "resumed") == f"3 of {IMAGES} marked on an earlier visit."
    press(fresh, Keys.ENTER)
    assert text(fresh, "place") == f"Image 4 of {IMAGES}"
    press(fresh, Keys.ARROW_LEFT)
    assert text(fresh, "mark") == "Your mark: could be real: 7."


@pytest.mark.parametrize("kept", ["", "{", "[]", "null", '{"marks": 3}', '{"marks": {"x": 1}, "rater": {}}'])
def test_what_storage_holds_is_not_trusted(fresh, served, kept):
    press(fresh, Keys.ENTER, "n")
    fresh.execute_script("for (const key of Object.keys(localStorage)) localStorage.setItem(key, arguments[0])", kept)
    show(fresh, served)
    press(fresh, Keys.ENTER)
    assert text(fresh, "count") == f"0 of {IMAGES} marked"
    assert fresh.get_log("browser") == []


def test_without_storage_it_works_and_says_so(browser, made):
    source = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no') } })"
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        show(browser, made / "look.html")
        assert "finish in one go" in text(browser, "unkept")
        press(browser, Keys.ENTER, "n", "y", "-")
        assert text(browser, "count") == f"2 of {IMAGES} marked"
        press(browser, Keys.BACKSPACE, Keys.BACKSPACE)
        assert text(browser, "count") == f"0 of {IMAGES} marked"
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_single_keys_can_be_turned_off(fresh):
    press(fresh, Keys.ENTER)
    fresh.find_element(By.ID, "keys").click()
    press(fresh, "n", "y")
    assert text(fresh, "count") == f"0 of {IMAGES} marked"
    press(fresh, *[Keys.TAB] * 20)  # once around, whatever has the focus
    fresh.execute_script("document.getElementById('yes').focus()")
    press(fresh, Keys.ENTER)
    assert text(fresh, "question") == "Which digit?"
    press(fresh, Keys.TAB, Keys.TAB, Keys.ENTER)
    press(fresh, Keys.ARROW_LEFT)
    assert text(fresh, "mark") == "Your mark: could be real: 1."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
def test_every_state_is_accessible_fits_and_asks_for_nothing(fresh, served, axe, state, size, scheme):
    show(fresh, served, size, scheme)
    press(fresh, *STATES[state])
    assert test_axe.violations(fresh, axe) == []
    assert fits(fresh, size)
    asked = "return performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length"
    assert fresh.execute_script(asked) == 0
    assert fresh.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_what_people_say_is_accessible_fits_and_stays_text(browser, tmp_path, axe, size, scheme):
    inspected = Inspected(tmp_path)
    inspected.merge(inspected.saved(PAYLOAD[-80:]), inspected.saved("x" * 80, BOB, 2), inspected.saved("", ANN, 3))
    show(browser, certificate_pages(build([inspected.path], tmp_path / "site"))[0], size, scheme)
    assert test_axe.violations(browser, axe) == []
    assert "javascript:alert(1)" in browser.find_element(By.CSS_SELECTOR, ".people").text
    assert fits(browser, size)
    assert browser.get_log("browser") == []


def test_nothing_outside_is_named(made):
    page = read(made / "look.html")
    assert {link for link in page.references if not link.startswith(("#", "data:"))} == set()
    policy = next(tag["content"] for name, tag in page.tags if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy


@pytest.mark.parametrize("size", SIZES)
def test_a_hostile_class_name_is_inert(browser, tmp_path, size):
    data = sample.document(tmp_path / "one") | {"certified": False, "class_names": [PAYLOAD, "y", "n", "0" * 300]}
    data["criteria"] = [criterion | {"per_class": []} for criterion in data["criteria"]]
    certificate = sample.parsed(data)
    images = _named(map(image, range(3)), "salt")
    key = key_of(certificate, images)
    page = tmp_path / "page.html"
    page.write_text(_rendered(certificate, key, {item: one.png for item, one in images.items()}), "utf-8")
    running = [source for kind, source in read(page).scripts if kind != "application/json" and source.strip()]
    assert running == [(STATIC / "inspect.js").read_text("utf-8")]
    show(browser, page, size)
    press(browser, Keys.ENTER, "y")
    assert "<script>alert(1)</script>" in text(browser, "classes")
    assert fits(browser, size)
    assert browser.execute_script("return document.scripts.length") == 2
    press(browser, "2", Keys.ARROW_LEFT)
    assert text(browser, "mark") == "Your mark: could be real: y."
    assert browser.get_log("browser") == []


def key_of(certificate, images) -> Key:
    items = {item: _known(one) for item, one in images.items()}
    name = identity(certificate)
    return Key(certificate=name, page=page_id(name, items), items=items)


def test_the_same_seed_makes_the_same_page(copied, made):
    assert inspection(copied) == 0
    assert (copied / "look.html").read_bytes() == (made / "look.html").read_bytes()
    assert inspection(copied, "--seed=1", out="other.html") == 0
    assert (copied / "other.html").read_bytes() != (made / "look.html").read_bytes()


def refusal(capsys, folder, *options: str) -> str:
    before = sorted(folder.iterdir())
    assert inspection(folder, *options) == 2
    captured = capsys.readouterr()
    assert sorted(folder.iterdir()) == before
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_certificate_without_its_images_is_refused(tmp_path, capsys):
    sample.write(tmp_path / "run")
    assert "no confident, sparse image is stored there" in refusal(capsys, tmp_path / "run")


def test_changed_images_are_refused(copied, capsys):
    (stored,) = copied.glob("generated/control/l1_sparse-60x24.safetensors")
    stored.write_bytes(stored.read_bytes() + b"\0")
    assert "changed since it was certified" in refusal(capsys, copied)


def test_other_data_and_another_judge_are_refused(copied, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bench.inspection, "SAME_SCORE", -1.0)
        assert "the judge fitted here scores the run's images otherwise" in refusal(capsys, copied)
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"seed": 1}))
    assert "is not the data of the run" in refusal(capsys, copied)
    (copied / "config.json").unlink()
    assert "expected the run's own settings there" in refusal(capsys, copied)


def test_too_few_images_and_another_pages_key_are_refused(copied, capsys):
    assert "--images 3; expected 20 to 1000" in refusal(capsys, copied, "--images=3")
    assert "the key of another page, whose marks need it" in refusal(capsys, copied, "--seed=1")
