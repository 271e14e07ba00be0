"""Certificates by the thousand: how long one takes, how much the index weighs, how fast it sorts."""

from __future__ import annotations

import io
import random
import time
from html.parser import HTMLParser

from PIL import Image

from reports import build as builder
from reports import machine, pages
from reports.board import Row, group_of
from reports.build import build, build_site
from tests.reports import sample
from tests.reports.chrome import show
from tests.reports.page import certificate_pages, read

MANY = 1000
VERDICTS = ("ppnippppfpp", "ppppppppppp", "ppnnnnfffpp", "pppppppfiip")


def rows(folder) -> list[Row]:
    """A leaderboard's worth of rows, two in three of them seeds of one setting."""
    bases = [sample.parsed(sample.document(folder, verdicts=verdicts)) for verdicts in VERDICTS]
    chance = random.Random(0)
    made = []
    for number in range(MANY):
        base = bases[number % len(bases)]
        slug = f"digits-some-defense-{number % 700}-{number:012x}"
        change = {
            "defense": f"some_defense_{number % 700}",
            "seed": number // 700,
            "score": chance.random(),
            "accuracy": chance.random(),
        }
        summary = machine.summarise(base, slug).model_copy(update=change)
        made.append(Row(slug, summary, group_of(base)))
    return made


CLICKED = """document.querySelectorAll('.board .sort')[arguments[0]].click()
  document.body.getBoundingClientRect()"""


def spent(browser, column: int) -> dict[str, float]:
    """What the browser counts for one sort: layouts, and its own processor's seconds (whatever runs beside it)."""
    before = browser.execute_cdp_cmd("Performance.getMetrics", {})
    browser.execute_script(CLICKED, column)
    after = browser.execute_cdp_cmd("Performance.getMetrics", {})
    start = {metric["name"]: metric["value"] for metric in before["metrics"]}
    return {metric["name"]: metric["value"] - start[metric["name"]] for metric in after["metrics"]}


def test_the_index_of_a_thousand_is_light_and_sorts_fast(browser, tmp_path):
    source = pages.index_page(rows(tmp_path), [])
    assert len(source.encode()) <= 2_000_000
    index = tmp_path / "index.html"
    index.write_text(source, encoding="utf-8")
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    show(browser, index)
    assert browser.find_element("id", "shown").text == "1000 of 1000 models"
    for column in (0, 2, 10):
        sorts = [spent(browser, column) for _ in range(9)]
        assert max(sort["LayoutCount"] for sort in sorts) <= 2, "one for where the tips stand, one for what is seen"
        assert min(sort["ScriptDuration"] for sort in sorts) <= min(sort["LayoutDuration"] for sort in sorts)
    script = """document.getElementById('find').value = 'some_defense_69'
      document.getElementById('filters').dispatchEvent(new Event('input'))
      return document.getElementById('shown').textContent"""
    assert browser.execute_script(script) == "12 of 1000 models"


def test_no_more_rows_are_laid_out_than_asked_for(browser, tmp_path):
    index = tmp_path / "index.html"
    index.write_text(pages.index_page(rows(tmp_path), []), encoding="utf-8")
    show(browser, index)
    shown = "return document.querySelectorAll('.board tbody').length"
    assert browser.execute_script(shown) == 50
    more, all_ = browser.find_elements("css selector", ".more")
    browser.execute_script("arguments[0].click()", more)
    assert browser.execute_script(shown) == 100
    assert all_.text == "Show all 700"
    browser.execute_script("arguments[0].click()", all_)
    assert browser.execute_script(shown) == 700
    assert not all_.is_displayed()


def test_a_certificate_is_laid_out_no_slower_than_its_page_is_read(tmp_path):
    """Against the standard library's parser on the same page, by one processor's time, in the best of four turns."""
    paths = [sample.write(tmp_path / str(number), seed=number, verdicts=VERDICTS[number % 4]) for number in range(24)]
    builder.make(paths[0], tmp_path / "site", {})
    (page,) = certificate_pages(tmp_path / "site" / "index.html")
    source = page.read_text(encoding="utf-8")
    laid_out, read_back = [], []
    for first in range(0, 24, 6):
        start = time.process_time()
        for path in paths[first : first + 6]:
            builder.make(path, tmp_path / "site", {})
        between = time.process_time()
        for _ in range(6):
            parser = HTMLParser()
            parser.feed(source)
            parser.close()
        laid_out.append(between - start)
        read_back.append(time.process_time() - between)
    assert min(laid_out) <= min(read_back)


def test_several_processes_make_the_same_site(tmp_path, monkeypatch):
    paths = sample.several(tmp_path / "results")
    bad = tmp_path / "results" / "bad.json"
    bad.write_text("{}")
    alone = build_site([*paths, bad], tmp_path / "alone")
    monkeypatch.setattr(builder, "ALONE", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    together = build_site([*paths, bad], tmp_path / "together")
    assert together.refusals == alone.refusals
    files = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*") if path.is_file())
    assert len(files) == 4 + 2 * len(paths)
    for file in files:
        assert (tmp_path / "alone" / file).read_bytes() == (tmp_path / "together" / file).read_bytes()


def noise(side: int, seed: int) -> bytes:
    """A sheet that no compression makes small."""
    out = io.BytesIO()
    Image.frombytes("L", (side, side), random.Random(seed).randbytes(side * side)).save(out, "png")
    return out.getvalue()


def test_a_page_leaves_out_pictures_before_it_grows_heavy(tmp_path):
    data = sample.document(tmp_path / "one", total_rounds=24)
    data["sheets"] = [sample.sheet(tmp_path / "one", f"end-{n}.png", f"end {n}", noise(300, n)) for n in range(2)]
    for round_ in data["rounds"][1:]:
        picture = noise(300, round_["index"] + 9)
        round_["sheet"] = sample.sheet(tmp_path / "one", f"round-{round_['index']}.png", "round", picture)
    (path,) = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))
    assert path.stat().st_size <= 1_500_000
    page = read(path)
    shown = [tag["data-title"] for name, tag in page.tags if name == "figure"]
    assert shown[:2] == ["end 0", "end 1"]
    assert len(shown) == 2 + 12 + 6  # the evolution is light here
    assert "17 of 37 contact sheets are left out" in " ".join(page.text.split())


def test_what_the_model_drew_stands_before_what_the_control_drew(tmp_path):
    data = sample.document(tmp_path / "one")
    data["sheets"] = [
        sheet | {"title": title} for sheet, title in zip(data["sheets"], ("a control", "b", "c"), strict=True)
    ]
    (path,) = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))
    titles = [tag["data-title"] for name, tag in read(path).tags if name == "figure"]
    assert titles[:3] == ["b", "c", "a control"]


def test_rounds_that_stay_are_spread_over_all():
    order = builder._spread_out(24)
    assert sorted(order) == list(range(24))
    assert order[:5] == [23, 0, 11, 5, 17]
    assert builder._spread_out(0) == []
    assert builder._spread_out(1) == [0]


def test_a_page_too_heavy_without_pictures_is_refused(tmp_path):
    data = sample.document(tmp_path / "one") | {"summary": "x" * 1_600_000}
    site = build_site([sample.write_document(tmp_path / "one", data)], tmp_path / "out")
    (refusal,) = site.refusals
    assert refusal.reason == "its page would exceed 1500 kB; too large to be shown"
    assert not list((tmp_path / "out").glob("*/*"))
