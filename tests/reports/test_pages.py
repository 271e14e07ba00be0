"""What the pages show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reports
from reports.build import build, find_certificates
from reports.words import NOTHING, percent
from tests.reports import sample
from tests.reports.page import certificate_pages, read

OWN = re.compile(
    r"#[a-z0-9-]+|data:,|data:image/png;base64,[A-Za-z0-9+/=]+"
    r"|data\.json|table\.csv|schema\.json|\.\./badges/[a-z0-9-]+\.svg|\.\./index\.html|certificates/[a-z0-9-]+\.html(#criterion-\d+)?"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The index over a leaderboard's worth of certificates."""
    folder = tmp_path_factory.mktemp("site")
    return build(sample.several(folder / "results"), folder / "out")


@pytest.fixture(scope="module")
def pages(site) -> dict[str, str]:
    return {page.stem.rpartition("-")[0]: page.read_text("utf-8") for page in certificate_pages(site)}


def test_every_model_has_a_row_and_a_page(site):
    links = {link for link in read(site).references if link.startswith("certificates/") and "#" not in link}
    assert links == {f"certificates/{page.name}" for page in certificate_pages(site)}
    assert len(links) == 6


def test_rows_stand_in_groups_certified_first_then_those_fooled_least(site):
    text = site.read_text("utf-8")
    rows = re.findall(r'<th scope=row class=model><a href="certificates/([a-z-]+)-[0-9a-f]+\.html">', text)
    assert rows == [
        "digits-fakeclass",
        "digits-weights-safetensors",
        "digits-fakeclass",
        "digits-fakeclass-single",
        "digits-undefended",
        "mnist-fakeclass",
    ]
    assert "at most 24 of 64 pixels lit, p at least 0.9, or the operating point" in text
    assert "at most 300 of 784 pixels lit, p at least 0.9" in text


def test_a_row_names_verdicts_scope_and_what_breaks_it(site):
    text = " ".join(read(site).text.split())
    assert "?inconclusive" in text
    assert "✕fail" in text
    assert f"{NOTHING}not applicable" in text
    assert "✓pass" in text
    assert "scope process, quick budget" in text
    assert "open 3, 5, 8" in text
    assert "fails 6, 7, 8, 9" in text


@pytest.mark.parametrize("name", ["digits-fakeclass-single", "digits-undefended", "mnist-fakeclass"])
def test_every_criterion_and_attack_appears(pages, name):
    for criterion in sample.NAMES:
        assert criterion in pages[name]
    for attack in sample.ATTACKS:
        assert f"<code>{attack}</code>" in pages[name]
    for outcome in sample.OUTCOMES:
        assert outcome.replace("_", " ") in pages[name]


def test_what_breaks_it_stands_before_the_figures(pages):
    page = pages["digits-undefended"]
    assert page.index("Not certified") < page.index("What breaks it") < page.index("Each criterion")
    broken = page[page.index("What breaks it") : page.index("Proof and attack")]
    assert re.findall(r'href="#criterion-(\d+)"', broken) == ["6", "7", "8", "9"]
    assert "train more rounds, or stronger" in broken


def test_failures_stand_before_what_stayed_open(tmp_path):
    index = build([sample.write(tmp_path / "one", verdicts="pipppppffpp")], tmp_path / "out")
    page = certificate_pages(index)[0].read_text("utf-8")
    broken = page[page.index("What breaks it") : page.index("Proof and attack")]
    assert re.findall(r'href="#criterion-(\d+)"', broken) == ["7", "8", "1"]


def test_a_certified_model_says_so_with_its_scope(pages):
    assert "scope model: criteria 0, 1 and 6 to 10" in pages["digits-weights-safetensors"]
    assert "Nothing that was tried: every criterion in scope passes." in pages["digits-weights-safetensors"]
    assert "Rounds of training" not in pages["digits-weights-safetensors"]


def test_the_frontier_tells_what_is_reached_at_each_k_and_what_its_failure_is_worth(pages):
    page = pages["digits-undefended"]
    frontier = page[page.index("Reached with at most k lit pixels") : page.index('id="verdicts"')]
    assert '<td class="num">4 / 50</td>' in frontier
    assert frontier.count("✓ yes") == 2
    assert frontier.count("the control is not reached either") == 1
    assert "0: 11, 1: 12" in frontier
    assert "sigma_zero" in frontier


def test_an_empty_class_is_called_so_and_never_zero_percent(pages):
    assert "no images" in pages["digits-fakeclass-single"]


def test_figures_of_the_certificate_are_on_its_page(tmp_path):
    data = sample.document(tmp_path / "one")
    page = certificate_pages(build([sample.write_document(tmp_path / "one", data)], tmp_path / "out"))[0]
    text = page.read_text("utf-8")
    for criterion in data["criteria"]:
        for row in criterion["per_class"]:
            if row["ratio"]["n"]:
                assert f"{row['ratio']['successes']} / {row['ratio']['n']}" in text
        for row in criterion["per_attack"]:
            for number in row["outcomes"].values():
                assert f'<td class="num">{number}</td>' in text
    for control in data["judge_controls"]:
        assert control["reason"] in text
    assert data["environment"]["command"] in text
    for value in (*data["hashes"], *data["hashes"].values(), *data["environment"]["packages"].values()):
        assert value in text
    assert text.count('src="data:image/png;base64,') == len(data["sheets"]) + 6 + len(data["evolution"])
    assert "target 0, p 0.90, 12 pixels" in text


def test_pages_load_nothing_and_say_so(site):
    for path in (site, *certificate_pages(site)):
        page, source = read(path), path.read_text("utf-8")
        assert all(OWN.fullmatch(reference) for reference in page.references)
        assert not page.foreign
        assert "url(" not in source
        assert "@import" not in source
        policy = next(tag["content"] for name, tag in page.tags if "http-equiv" in tag)
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
        assert policy.endswith("; img-src data:; base-uri 'none'; form-action 'none'")


def test_pages_are_structured(site):
    for path in (site, *certificate_pages(site)):
        page = read(path)
        names = [name for name, _ in page.tags]
        assert names.count("h1") == names.count("main") == names[: names.index("body")].count("title") == 1
        assert names.count("table") == names.count("caption")
        assert all("scope" in tag for name, tag in page.tags if name == "th")
        assert all(tag.get("alt") for name, tag in page.tags if name == "img")
        assert all("aria-hidden" in tag or tag.get("role") == "img" for name, tag in page.tags if name == "svg")
        regions = [tag for _, tag in page.tags if (tag.get("class") or "").split()[:1] == ["scroll"]]
        assert all(tag["tabindex"] == "0" and tag["aria-label"] for tag in regions)
        ids = [tag["id"] for _, tag in page.tags if "id" in tag]
        assert len(ids) == len(set(ids))
        targets = {reference[1:] for reference in page.references if reference.startswith("#")}
        assert targets <= set(ids)


def test_built_twice_the_same_bytes(tmp_path):
    certificates = sample.several(tmp_path / "results")
    first = build(certificates, tmp_path / "first")
    second = build(list(reversed(certificates)), tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    for one, other in zip(certificate_pages(first), certificate_pages(second), strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_an_empty_leaderboard_says_so(tmp_path):
    assert "No certificate can be shown." in build([], tmp_path).read_text("utf-8")


def test_extreme_but_valid_numbers_are_shown(tmp_path):
    data = sample.document(tmp_path / "one", total_rounds=2)
    data["cost"] = {"seconds": 1e308, "forward_passes": 10**400, "backward_passes": 0}
    data["threat"] |= {"k": 10**400, "pixels": 0, "operating_point": []}
    data |= {"certified": False, "fooled_from": None, "proved_to": 10**400, "image_shape": [0, -1, 10**30]}
    data["frontier"] |= {"per_class": {"0": None}, "rows": [data["frontier"]["rows"][0] | {"k": 10**400}]}
    bounds = [{"k": k, "interval": 1, "linear": rate} for k, rate in ((10**400, 5e-324), (0, 1))]
    data["proof"] |= {"proved_to": 10**400, "sparsest_real": 10**400, "rows": bounds}
    data["rounds"][1] |= {"attempted": 0, "passes": 10**400, "outcomes": {"fooling": 10**400, "dense": 1}}
    data["rounds"][0] |= {"index": 10**400}
    data["evolution"] = [data["evolution"][0] | {"index": 10**400}]
    data["transfer"] |= {"networks": [10**400, 1], "past": [10**400]}
    data["transfer"]["rows"] = [data["transfer"]["rows"][0] | {"n": 10**400, "detected": [10**399, 0]}]
    data["criteria"][0]["figures"] = {"least": 5e-324, "most": -1.7e308, "zero": 0}
    data["criteria"][0]["per_class"][0]["means"] = {"loss": 1.7e308}
    data["criteria"][0]["per_class"][0]["ratio"] |= {"lower": 1, "upper": 0}
    path = sample.write_document(tmp_path / "one", data)
    assert len(certificate_pages(build(find_certificates([path]), tmp_path / "out"))) == 1


def _colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z_-]+): (#[0-9a-f]{6})", css))


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("ink", "paper"),
        ("soft", "paper"),
        ("soft", "raised"),
        ("ink", "raised"),
        ("link", "paper"),
        ("ink", "open-paper"),
        ("open", "open-paper"),
        ("open", "paper"),
        ("pass", "pass-paper"),
        ("fail", "fail-paper"),
        ("pass", "paper"),
        ("fail", "paper"),
        ("solid-text", "fail"),
    ],
)
def test_text_has_the_contrast_of_wcag_aa(scheme, text, paper):
    css = (Path(reports.__file__).parent / "templates" / "style.css").read_text("utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    colours = _colours(light if scheme == "light" else dark)
    bright, dim = sorted((_luminance(colours[text]), _luminance(colours[paper])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_tables_show_each_figure_in_its_own_column(tmp_path):
    data = sample.document(tmp_path / "one")
    data["judge_controls"] = [data["judge_controls"][4] | {"rejected_working": 0.41, "rejected_strict": 0.22}]
    data["judge_controls"].append(data["judge_controls"][0] | {"holds": False, "required": True})
    data["criteria"][0]["per_class"][0]["fails"] = True
    data["criteria"][0]["verdict"] = "fail"
    data["criteria"][8]["per_attack"][2]["healthy"] = False
    data |= {"fooled_from": 16, "certified": False}
    data["frontier"]["per_class"]["3"] = 16
    index = build([sample.write_document(tmp_path / "one", data)], tmp_path / "out")
    text = certificate_pages(index)[0].read_text("utf-8")
    assert '<td class="num">41.0%</td>\n<td class="num">22.0%</td>' in text
    judge = text[text.index('id="judge"') : text.index('id="rounds"')]
    assert judge.count("✕ fails") == judge.count("not asked") == 1
    assert text.count("✕ fails") == 2
    assert text.count("✕ unhealthy") == 1
    assert text.count("✓ healthy") == 2
    for criterion in data["criteria"]:
        observed, bound = (percent(criterion[name], criterion["threshold"]) for name in ("observed", "bound"))
        assert f'<td class="num">{observed}</td>\n<td class="num">{bound}</td>' in text
    row = index.read_text("utf-8")
    assert "<td class=num>6</td><td class=num>16</td>" in row


def test_test_accuracy_is_accuracy_even_where_another_rate_decides(tmp_path):
    data = sample.document(tmp_path / "one", verdicts="ppppppppppf")
    figures = {"accuracy": 0.963, "confident_accuracy": 0.87}
    data["criteria"][10] |= {"observed": 0.87, "figures": figures}
    index = build([sample.write_document(tmp_path / "one", data)], tmp_path / "out")
    assert "<td class=num>96.3%</td><td class=num>87.0%</td>" in index.read_text("utf-8")
