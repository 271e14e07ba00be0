"""Each round's images on each round's network: cells, what is left out, what is refused."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from bench.record import ContradictionError, read_certificate
from reports.build import build
from reports.matrix import MOST, _kept, matrix
from tests.reports import sample
from tests.reports.page import certificate_pages, read


def section(page) -> str:
    text = page.read_text("utf-8")
    return text[text.index('id="matrix"') :].partition("</section>")[0]


def test_rows_are_images_and_columns_networks(tmp_path):
    made = matrix(sample.parsed(sample.document(tmp_path, total_rounds=4)))
    assert made.networks == [0, 1, 2, 3]
    assert [row.index for row in made.rows] == [1, 2, 3]
    assert made.selected == 3
    assert made.thinned == ""
    first = made.rows[0]
    assert [cell.kind for cell in first.cells] == ["made", "taught", "", ""]
    assert [cell.share for cell in first.cells] == ["0.0%", "100.0%", "96.2%", "91.9%"]
    assert [cell.level for cell in first.cells] == [0, 4, 4, 4]
    assert first.cells[1].fake == "0.970"
    assert [cell.kind for cell in made.rows[2].cells] == ["", "", "made", "taught"]


def test_unused_attacks_have_a_cell_a_past_network_and_their_sum(tmp_path):
    made = matrix(sample.parsed(sample.document(tmp_path, total_rounds=4)))
    assert made.past == [0, 1, 2]
    (first, _) = made.attacks
    assert first.cells == ["30 / 30", "29 / 30", "\N{EN DASH}"]
    assert (first.total.successes, first.total.n) == (59, 60)


def test_at_most_twenty_evenly_with_the_ends_and_the_selected_one(tmp_path):
    for total in range(1, 70):
        for selected in range(total):
            kept = _kept(range(total), selected)
            assert {0, selected, total - 1} <= set(kept)
            assert len(kept) == min(total, MOST)
            gaps = [after - before for before, after in pairwise(kept)]
            assert max(gaps, default=0) <= 2 * total / MOST + 2
    made = matrix(sample.parsed(sample.document(tmp_path, total_rounds=45)))
    assert (len(made.networks), len(made.rows), len(made.past)) == (20, 20, 20)
    assert made.thinned == (
        "Shown are 20 of 44 rounds with images and 20 of 45 networks, evenly spread; the certificate has all."
    )


def test_the_page_has_numbers_words_and_outlines_for_every_shade(tmp_path):
    path = sample.write(tmp_path / "one", total_rounds=4)
    text = section(certificate_pages(build([path], tmp_path / "out"))[0])
    cells = re.findall(r'<td class="num (heat-\d[^"]*)">([^<]+)(?:<span class="hidden"> ([^<]+)</span>)?</td>', text)
    assert len(cells) == 12
    assert all(share.endswith("%") for _, share, _ in cells)
    assert ("heat-0 heat-made", "0.0%", "made on it") in cells
    assert ("heat-4 heat-taught", "100.0%", "first taught to it") in cells
    assert "In the column of the selected round, 3, its own row, " in text
    assert '98.3%<span class="sub">59 / 60, ' in text


@pytest.mark.parametrize("change", [{"transfer": None}, {"rows": []}])
def test_without_images_there_is_no_such_section(tmp_path, change):
    data = sample.document(tmp_path / "one")
    data = data | change if "transfer" in change else data | {"transfer": data["transfer"] | change}
    (page,) = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))
    assert "Each round's images" not in read(page).text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it["networks"].append(99), "names a round that the run does not have"),
        (lambda it: it["rows"][2]["detected"].pop(), r"rows\.2: expected one figure for each of 7 networks"),
        (lambda it: it["rows"][2].update(n=1), r"rows\.2: more than its 1 images"),
        (lambda it: it["rows"][0].update(taught=999), r"rows\.0: more than its 260 images"),
        (lambda it: it["attacks"][1]["n"].pop(), r"attacks\.1: expected one figure for each of 6 past networks"),
        (lambda it: it["attacks"][1].update(detected=[31] + [0] * 5), r"attacks\.1: more detected than made"),
        (lambda it: it["attacks"][0].update(total=sample.ratio(1, 2)), r"attacks\.0: the total is no sum"),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(tmp_path, change, said):
    data = sample.document(tmp_path)
    change(data["transfer"])
    with pytest.raises(ContradictionError, match=said):
        read_certificate(sample.write_document(tmp_path, data))
