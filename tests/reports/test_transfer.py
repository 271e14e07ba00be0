"""Every attack on every kind of network, side by side."""

from __future__ import annotations

import re

from reports.build import build
from reports.transfer import transfer
from tests.reports import sample
from tests.reports.page import certificate_pages


def test_rows_are_attacks_and_columns_networks(tmp_path):
    made = transfer(sample.parsed(sample.document(tmp_path)))
    assert list(made.columns) == [0, 6, 7, 8]
    assert list(made.rows) == list(sample.ATTACKS)
    assert [row.attack for row in made.rows["masked"]] == ["masked"] * 4


def test_an_attack_that_was_not_run_on_a_network_has_no_figure_there(tmp_path):
    data = sample.document(tmp_path)
    data["criteria"][6]["per_attack"].pop(1)
    data["criteria"][7]["per_attack"] = []
    made = transfer(sample.parsed(data))
    assert list(made.columns) == [0, 6, 8]
    assert [row and row.attack for row in made.rows["masked"]] == ["masked", None, "masked"]


def test_no_attack_no_matrix(tmp_path):
    data = sample.document(tmp_path / "one") | {"certified": False}
    for criterion in data["criteria"]:
        criterion["per_attack"] = []
    assert transfer(sample.parsed(data)) is None
    (page,) = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))
    assert "Attacks across networks" not in page.read_text("utf-8")


def test_the_page_gives_rate_count_and_bounds_and_a_dash_for_no_images(tmp_path):
    data = sample.document(tmp_path / "one", verdicts="ppppppppfpp")
    data["criteria"][6]["per_attack"][0]["ratio"] = sample.ratio(0, 0)
    data["criteria"][8]["per_attack"][0]["ratio"] = sample.ratio(3, 60)
    (page,) = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))
    text = page.read_text("utf-8")
    row = text[text.index('id="transfer"') :].partition("l1_sparse</code>")[2].partition("</tr>")[0]
    cells = re.findall(r'<td class="num">(.+?)</td>', row)
    assert cells[1] == "\N{EN DASH}"
    assert cells[3] == '5.0%<span class="sub">3 / 60, 1.4% to 12.4%</span>'
