"""The perturbed images' figure: where its marks stand, and what the page says without it."""

from __future__ import annotations

import itertools
import re

import pytest

from bench.record import ContradictionError, read_certificate
from reports.build import build
from reports.perturbed_chart import Panel, perturbed_panels
from tests.reports import sample
from tests.reports.page import certificate_pages, read


def page_of(folder, **changes) -> str:
    data = sample.document(folder / "one", verdicts="ppppppppfpp") | changes
    (page,) = certificate_pages(build([sample.write_document(folder / "one", data)], folder / "out"))
    return page.read_text("utf-8")


def test_marks_stand_at_their_share_and_in_the_panel(tmp_path):
    certificate = sample.parsed(sample.document(tmp_path, verdicts="ppppppppfpp"))
    panels = perturbed_panels(certificate)
    assert [panel.name for panel in panels] == ["control-turned", "control-kept", "final-turned", "final-kept"]
    rows = [row for row in certificate.perturbed.rows if row.series == "control"]
    drawn = [(panels[0].model, "turned"), (panels[0].control, "control")]
    drawn += [(panels[1].model, "kept"), (panels[1].control, "control_kept")]
    for points, part in drawn:
        for point, row in zip(points, rows, strict=True):
            share = getattr(row, part)
            assert point.y == pytest.approx(Panel.top + Panel.panel * (1 - share.observed), abs=0.01)
            assert point.high <= point.y <= point.low
            assert Panel.left <= point.x <= Panel.width
            assert f"strength {row.strength:.3g}: " in point.title
    xs = [point.x for point in panels[0].model]
    assert [round(b - a, 1) for a, b in itertools.pairwise(xs)] == [round(xs[1] - xs[0], 1)] * 4
    assert [tick.label for tick in panels[0].ticks] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert "added image's class, at strength 0.5: this model 45.3%, undefended control 64.0%" in panels[0].description
    assert "their own class, at strength 0.5: this model 6.3%, undefended control 35.0%" in panels[1].description


def test_a_single_strength_of_zero_and_empty_samples_are_drawn_too(tmp_path):
    data = sample.document(tmp_path)
    row = data["perturbed"]["rows"][0] | {"strength": 0.0}
    row |= dict.fromkeys(("turned", "kept", "control", "control_kept"), sample.ratio(0, 0))
    data["perturbed"]["rows"] = [row]
    panel, _ = perturbed_panels(sample.parsed(data))
    assert panel.model[0].y == Panel.top + Panel.panel
    assert "\N{EN DASH}" in panel.model[0].title


def test_the_page_says_it_in_words_a_figure_and_a_table(tmp_path):
    text = page_of(tmp_path)
    section = text[text.index('id="perturbed"') :].partition("</section>")[0]
    assert section.count('role="img"') == 4
    assert len(re.findall(r'<tr><th scope="row">', section)) == 10
    assert '<td class="num">45.3%<span class="sub">136 / 300, 40.5% to 50.2%</span></td>' in section
    assert "this model gives 136 of 300" in section
    described = set(re.findall(r'aria-labelledby="(perturbed-\S+) (perturbed-\S+)"', section).pop())
    assert described <= set(re.findall(r'id="([^"]+)"', section))


def test_what_was_not_measured_has_its_reason_and_no_figure(tmp_path):
    nothing = {"attack": "l1_sparse", "rows": [], "reason": "Not measured: it came to NaN."}
    text = page_of(tmp_path, perturbed=nothing)
    section = text[text.index('id="perturbed"') :].partition("</section>")[0]
    assert "Not measured: it came to NaN." in section
    assert "<svg" not in section
    assert "<table" not in section


def test_an_older_certificate_has_no_such_section(tmp_path):
    data = sample.document(tmp_path / "one")
    del data["perturbed"]
    (page,) = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))
    assert "fooling image added" not in read(page).text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kept": sample.ratio(10, 299)}, "perturbed.rows.0: of 300, 299, 300, 300 pairs"),
        ({"control": sample.ratio(200, 300), "control_kept": sample.ratio(101, 300)}, "200 turned and 101 kept of 300"),
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path, change, said):
    data = sample.document(tmp_path)
    data["perturbed"]["rows"][0] |= change
    with pytest.raises(ContradictionError, match=said):
        read_certificate(sample.write_document(tmp_path, data))
