"""Certificates from a stranger: inert, or refused by file and field."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from bench.record import CertificateError
from reports import entry
from reports.build import build, build_site
from tests.reports import sample
from tests.reports.page import certificate_pages, read

PAYLOAD = (
    "</title></style></textarea><script>alert(1)</script><img src=x onerror=alert(1)>"
    '"\' onmouseover="alert(1)" style="x" <svg onload=alert(1)> <a href=\'javascript:alert(1)\'>'
    "{{ 7 * 7 }}{% raw %} http://evil.example/ &lt;\u202e\x1b\x00 ]]> --> "
)
KEPT = {"verdict", "scope", "direction", "series", "sha256", "file"}  # closed sets of words, and what must match a file
KEYS_ARE_TEXT = {"means", "figures", "outcomes", "packages", "hashes"}


def poison(value, key: str = ""):
    """The same document with the payload in every text that the schema leaves free, names included."""
    if isinstance(value, dict):
        poisoned = {name: poison(item, name) for name, item in value.items()}
        if key in KEYS_ARE_TEXT:
            poisoned = {PAYLOAD + name: item for name, item in poisoned.items()}
        return poisoned
    if isinstance(value, list):
        return [poison(item, key) for item in value]
    return PAYLOAD + value if isinstance(value, str) and key not in KEPT else value


def hostile(folder) -> dict:
    data = sample.document(folder, verdicts="ppnippppfpp")
    poisoned = poison(data)
    poisoned["budget"]["name"] = data["budget"]["name"]
    for criterion, benign in zip(poisoned["criteria"], data["criteria"], strict=True):
        criterion["name"] = benign["name"]  # a closed set of words too
        if "figures" in benign:
            criterion["figures"] |= benign["figures"]  # a pass must have its own
    poisoned["hashes"] = {PAYLOAD + name: value for name, value in data["hashes"].items()}
    return poisoned


def refusal(path, out) -> str:
    """Why `build` refuses the one certificate; the reason is on the page too, escaped."""
    site = build_site([path], out)
    assert site.certificates == 0
    assert certificate_pages(site.index) == []
    (refused,) = site.refusals
    assert " ".join(refused.reason.split()) in " ".join(read(site.index).text.split())
    return refused.reason


def test_markup_in_every_text_is_inert(tmp_path):
    plain = build([sample.write(tmp_path / "plain", verdicts="ppnippppfpp")], tmp_path / "plain-site")
    path = sample.write_document(tmp_path / "hostile", hostile(tmp_path / "hostile"))
    index = build([path], tmp_path / "site")
    pairs = [(plain, index), (certificate_pages(plain)[0], certificate_pages(index)[0])]
    for benign, poisoned in ((read(one), read(other)) for one, other in pairs):
        assert poisoned.names <= benign.names | {"wbr"}
        assert poisoned.attributes <= benign.attributes
        assert not poisoned.foreign
        assert [tag for tag, _ in poisoned.tags].count("script") == [tag for tag, _ in benign.tags].count("script")
        assert not any(name.startswith("on") for _, name in poisoned.attributes)
        assert not any(link.strip().lower().startswith(("javascript:", "http")) for link in poisoned.references)
        assert "<script>alert(1)</script>" in poisoned.text
        assert "{{ 7 * 7 }}{% raw %}" in poisoned.text
        assert not {"\u202e", "\x1b", "\x00"} & set(poisoned.text)


def test_payload_reaches_every_field_that_is_shown(tmp_path):
    path = sample.write_document(tmp_path / "hostile", hostile(tmp_path / "hostile"))
    text = read(certificate_pages(build([path], tmp_path / "site"))[0]).text
    assert text.count("alert(1)</script>") > 300


def test_a_page_never_leaves_its_folder(tmp_path):
    data = sample.document(tmp_path / "one") | {"dataset": "../../up", "defense": "/etc/..%2f\\x"}
    index = build([sample.write_document(tmp_path / "one", data)], tmp_path / "a" / "b" / "out")
    (page,) = certificate_pages(index)
    assert page.name.startswith("up-etc-2f-x-")
    written = {
        str(path.relative_to(tmp_path / "a" / "b" / "out")) for path in (tmp_path / "a").rglob("*") if path.is_file()
    }
    pair = {f"certificates/{page.name}", f"badges/{page.stem}.svg"}
    assert written == {"index.html", "data.json", "table.csv", "schema.json"} | pair


@pytest.mark.parametrize(
    "file",
    [
        "../secret.png",
        "sheets/../../secret.png",
        "sheets/../sheets/round-001.png",
        "/etc/hostname",
        "sheets\\..\\x.png",
        "x\0.png",
        "",
        ".",
    ],
)
def test_a_sheet_elsewhere_is_refused(tmp_path, file):
    data = sample.document(tmp_path / "one")
    secret = sample.sheet_png(1)
    (tmp_path / "secret.png").write_bytes(secret)
    data["sheets"][1] |= {"file": file, "sha256": hashlib.sha256(secret).hexdigest()}
    reason = refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")
    assert reason.startswith("sheets.1: sheet ")


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, linked):
    data = sample.document(tmp_path / "one")
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = sample.sheet_png(1)
    (outside / "secret.png").write_bytes(secret)
    if linked == "file":
        (tmp_path / "one" / "link.png").symlink_to(outside / "secret.png")
        file = "link.png"
    else:
        (tmp_path / "one" / "link").symlink_to(outside)
        file = "link/secret.png"
    data["sheets"][0] |= {"file": file, "sha256": hashlib.sha256(secret).hexdigest()}
    reason = refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")
    assert "a link leads out of the certificate's folder" in reason


def test_changed_bytes_are_refused_by_name(tmp_path):
    path = sample.write(tmp_path / "one")
    sheet = tmp_path / "one" / "sheets" / "round-002.png"
    sheet.write_bytes(sheet.read_bytes() + b"\0")
    reason = refusal(path, tmp_path / "out")
    assert reason.startswith("rounds.2.sheet: sheet 'sheets/round-002.png': changed since it was certified")


def test_a_missing_sheet_is_refused_by_name(tmp_path):
    path = sample.write(tmp_path / "one")
    (tmp_path / "one" / "sheets" / "final-masked.png").unlink()
    assert "'sheets/final-masked.png': missing" in refusal(path, tmp_path / "out")


def test_a_pipe_is_not_waited_for(tmp_path):
    path = sample.write(tmp_path / "one")
    sheet = tmp_path / "one" / "sheets" / "final-masked.png"
    sheet.unlink()
    os.mkfifo(sheet)
    assert "not a regular file" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not a PNG image"),
        (b"\x89PNG", "not a PNG image"),
        (sample.sheet_png(1).replace(b"IHDR", b"IDAT", 1), "not a PNG image"),
        (sample.sheet_png(1)[:16] + b"\x00\x01\x00\x00" + sample.sheet_png(1)[20:], "at most 8192 a side"),
        (sample.sheet_png(1)[:16] + b"\x00\x00\x00\x00" + sample.sheet_png(1)[20:], "at most 8192 a side"),
    ],
)
def test_only_png_of_a_sane_size(tmp_path, data, expected):
    document = sample.document(tmp_path / "one")
    document["sheets"][0] = sample.sheet(tmp_path / "one", "x.png", "x", data)
    assert expected in refusal(sample.write_document(tmp_path / "one", document), tmp_path / "out")


@pytest.mark.parametrize(
    ("cap", "size", "expected"),
    [
        ("MAX_CERTIFICATE", 1000, "too large to be shown"),
        ("MAX_SHEET", 100, "sheets.0: sheet 'sheets/final-l1_sparse.png': larger than"),
        ("MAX_SHEETS", 2000, "all sheets together exceed"),
    ],
)
def test_sizes_are_capped(tmp_path, monkeypatch, cap, size, expected):
    monkeypatch.setattr(entry, cap, size)
    assert expected in refusal(sample.write(tmp_path / "one"), tmp_path / "out")


def _set(data, place, value):
    *parents, last = place
    for parent in parents:
        data = data[parent]
    data[last] = value


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("score",), float("nan"), "score"),
        (("cost", "seconds"), float("inf"), "cost.seconds"),
        (
            ("criteria", 3, "per_class", 0, "means"),
            {"loss": float("nan")},
            "criteria.3.per_class.0.means.loss",
        ),
        (("criteria", 3, "observed"), 1.5, "criteria.3.observed"),
        (("<b>unknown</b>",), 1, "<b>unknown</b>"),
        (("schema_version",), 2, "schema_version"),
        (("criteria",), [], "criteria"),
        (("hashes",), {"x": "not a hash"}, "hashes.x"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, place, value, field):
    data = sample.document(tmp_path / "one")
    _set(data, place, value)
    assert refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out").startswith(f"{field}: ")


def test_a_missing_field_is_named(tmp_path):
    data = sample.document(tmp_path / "one")
    del data["threat"]["k"]
    reason = refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")
    assert reason.startswith("threat.k: Field required")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ufeff", "[" * 100_000, "<script>alert(1)</script>"])
def test_what_is_no_certificate_is_refused(tmp_path, text):
    path = tmp_path / "certificate.json"
    path.write_text(text, encoding="utf-8")
    refusal(path, tmp_path / "out")
    assert not read(tmp_path / "out" / "index.html").foreign


def test_a_missing_file_a_folder_and_a_link_are_refused(tmp_path):
    target = sample.write(tmp_path / "one")
    (tmp_path / "link.json").symlink_to(target)
    assert "No such file" in refusal(tmp_path / "absent.json", tmp_path / "out")
    assert "not a regular file" in refusal(tmp_path / "one", tmp_path / "out")
    assert "a symbolic link" in refusal(tmp_path / "link.json", tmp_path / "out")


def certified(folder):
    return sample.document(folder, verdicts="p" * 11)


def selected_step(data: dict) -> dict:
    (certified,) = (row["index"] for row in data["rounds"] if row["selected"])
    return next(step for step in data["evolution"] if step["index"] == certified)


PASSED = "expected another verdict than pass"
FOOLS = "criteria.8: something fools the network, by"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda it: it["criteria"][8].update(observed=0.5), f"{FOOLS} observed; {PASSED}"),
        (lambda it: it["criteria"][8]["per_attack"][0].update(ratio=sample.ratio(1, 300)), f"{FOOLS} the row of"),
        (lambda it: it["criteria"][8]["per_attack"][0]["outcomes"].update(fooling=1), f"{FOOLS} the outcomes of"),
        (lambda it: it["criteria"][8]["per_class"][0].update(ratio=sample.ratio(1, 299)), f"{FOOLS} the row of class"),
        (lambda it: it["criteria"][8]["figures"].update(known_fooling=5), f"{FOOLS} known_fooling"),
        (lambda it: it["frontier"]["rows"][0].update(fooling=sample.ratio(2, 50)), f"{FOOLS} the frontier at"),
        (lambda it: it["criteria"][8].update(bound=0.6), "criteria.8: a bound of 0.6 misses 0.01"),
        (lambda it: it["criteria"][8].update(bound=0.0001), "criteria.8: a bound of 0.0001 is tighter than"),
        (lambda it: it["criteria"][2].update(observed=1.0, bound=0.99, n=20), "criteria.2: a bound of 0.99 is tighter"),
        (lambda it: it["criteria"][7]["per_attack"][0].update(verdict="fail"), "criteria.7: attack l1_sparse fails"),
        (lambda it: it["criteria"][0]["per_attack"][0].update(verdict="fail"), "criteria.0: attack l1_sparse does not"),
        (lambda it: it["criteria"][8]["per_attack"][1].update(verdict="inconclusive"), "criteria.8: attack masked"),
        (lambda it: it["criteria"][9]["per_class"][0].update(ratio=sample.ratio(0, 30)), "criteria.9: its accuracy is"),
        (lambda it: it["criteria"][10]["figures"].update(accuracy=0.5), "criteria.10: "),
        (lambda it: it.update(certified=False, summary="Certified: 11 of 11."), "summary: 'Certified: 11 of 11.', and"),
        (lambda it: it["criteria"][2]["per_class"][0]["ratio"].update(observed=0.5), "observed: 0.5 of successes and"),
        (lambda it: it["criteria"][10].update(bound=0.01), "criteria.10: a bound of 0.01 misses"),
        (lambda it: it["criteria"][3].update(n=0), f"criteria.3: nothing was measured; {PASSED}"),
        (lambda it: it["criteria"][3].update(bound=None), "criteria.3: nothing was measured"),
        (lambda it: it["criteria"][9].update(observed=0.1, bound=0.99), "criteria.9: 0.1 observed is on the"),
        (lambda it: it["criteria"][9].update(observed=None), f"criteria.9: nothing observed; {PASSED}"),
        (lambda it: it["criteria"][8].update(bound=1, direction="at_least"), "criteria.8: its bound is at_least"),
        (lambda it: it["criteria"][10].update(bound=0, direction="at_most"), "criteria.10: its bound is at_most"),
        (lambda it: selected_step(it)["outcomes"].update(fooling=20, in_distribution=0), f"{FOOLS} the evolution"),
        (lambda it: it["perturbed"]["rows"][0].update(series="final"), f"{FOOLS} the images made on it and added"),
        (lambda it: it["criteria"][6]["per_class"][2].update(fails=True), "criteria.6: class 2 fails"),
        (lambda it: it["judge_controls"][0].update(required=True, holds=False), "certified: the judge's control"),
        (lambda it: it["judge_controls"][0].update(required=True, holds=None), "certified: the judge's control"),
        (lambda it: it.update(judge_controls=[]), "certified: without a required control of the judge"),
        (lambda it: it["criteria"][8].update(n=299, bound=0.00998), "certified: criterion 8 on 299 targets; expected "),
        (lambda it: it["criteria"][8].update(per_attack=[]), "certified: criterion 8 without l1_sparse, masked"),
        (lambda it: it["criteria"][8]["per_attack"][0].update(healthy=False), "certified: criterion 8 without"),
        (lambda it: it["criteria"][3].update(threshold=0.5), "certified: criterion 3 by a threshold of 0.5, looser"),
        (lambda it: it["criteria"][8].update(threshold=0.05), "certified: criterion 8 by a threshold of 0.05, looser"),
        (lambda it: it["criteria"][10].update(threshold=0.8), "certified: criterion 10 by a threshold of 0.8, looser"),
        (lambda it: it["budget"].update(images=299), "certified: 299 images, where budget standard buys 300"),
        (lambda it: it["budget"].update(passes=1999), "certified: 1999 passes, where budget standard buys 2000"),
        (lambda it: it["budget"].update(restarts=3), "certified: 3 restarts, where budget standard buys 2"),
        (lambda it: it["criteria"][9].update(name="real test"), "criteria.9: called 'real test'; expected 'real "),
        (lambda it: it["criteria"][0]["per_class"].pop(), "criteria.0: classes 0, 1, 2, 3, 4, 5, 6, 7, 8; expected"),
        (lambda it: it["criteria"][8].update(per_class=[]), "certified: criterion 8 on 2990 targets, [] by class"),
        (
            lambda it: it["criteria"][8]["per_class"][4].update(ratio=sample.ratio(0, 0)),
            "certified: criterion 8 on 2990 targets",
        ),
        (lambda it: it["threat"].update(operating_point=[]), "certified: 0 operating points for 10 classes"),
        (lambda it: [row.update(selected=False) for row in it["rounds"]], "certified: scope process without one"),
        (
            lambda it: it.update(scope="model", rounds=[], training_attacks=[], evolution=[], transfer=None),
            "certified: scope model, yet criterion 2 is pass",
        ),
        (lambda it: it.update(scope="model"), "scope: model, yet with rounds or training_attacks; expected none"),
        (lambda it: it.update(checkpoint="a.safetensors"), "scope: process of a checkpoint; expected model"),
        (lambda it: it.update(defense=None), "defense: null, and no checkpoint; expected the name"),
        (lambda it: it.update(attacks=["masked"]), "certified: without the required attacks l1_sparse"),
        (lambda it: it["threat"].update(operating_point=[0.95] * 10), "threat.operating_point: 0.95; expected at most"),
        (lambda it: it["proof"].update(rows=[]), "proof.rows: no bound at 6, up to where it is proved"),
    ],
)  # fmt: skip
def test_a_pass_that_its_own_figures_contradict_is_refused(tmp_path, change, expected):
    data = certified(tmp_path / "one")
    sample.parsed(data)
    change(data)
    assert refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out").startswith(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"verdicts": "ppppppppfpp"}, "certified: criterion 8 is fail; expected false"),
        ({"verdicts": "ppppppppipp"}, "certified: criterion 8 is inconclusive; expected false"),
        ({"verdicts": "ppnnnnppppp"}, "certified: criterion 2 is not_applicable; expected false"),
        ({"verdicts": "ppnnnnpnppp", "scope": "model"}, "certified: criterion 7 is not_applicable"),
        ({"budget": "quick"}, "certified: the quick budget can't certify"),
    ],
)
def test_a_certificate_that_does_not_follow_from_its_verdicts_is_refused(tmp_path, change, expected):
    data = sample.document(tmp_path / "one", **change) | {"certified": True}
    assert expected in refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"proved_to": 7}, "proved_to: 7, but proof.proved_to is 6; expected the same"),
        ({"proof": None}, "proved_to: 6, but proof.proved_to is \N{EN DASH}; expected the same"),
        ({"fooled_from": 12}, "fooled_from: 12, but the frontier's is 11; expected the same"),
        ({"fooled_from": None}, "fooled_from: \N{EN DASH}, but the frontier's is 11; expected the same"),
        ({"fooled_from": 6, "frontier": None}, "proved_to: 6, yet fooled_from is 6; expected more"),
    ],
)
def test_a_proof_that_the_rest_contradicts_is_refused(tmp_path, change, expected):
    data = sample.document(tmp_path / "one", verdicts="ppppppppfpp") | change
    assert refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out") == expected


def test_a_proof_up_to_where_its_own_bound_reaches_p_is_refused(tmp_path):
    data = sample.document(tmp_path / "one")
    data |= {"proved_to": 7, "proof": data["proof"] | {"proved_to": 7}}
    data["threat"]["operating_point"] = [0.88] * 10
    place = [row["k"] for row in data["proof"]["rows"]].index(7)
    data["proof"]["rows"][place]["linear"] = 0.88
    reason = refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")
    assert reason == f"proof.rows.{place}: a bound of 0.88 at what is proved; expected less than 0.88"


def test_criteria_and_rounds_stand_once(tmp_path):
    data = sample.document(tmp_path / "one")
    data["criteria"][4] = data["criteria"][5]
    assert "expected the ids 0 to 10" in refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")
    data = sample.document(tmp_path / "one")
    data["rounds"][4]["index"] = 5
    assert "each index may stand once" in refusal(sample.write_document(tmp_path / "one", data), tmp_path / "out")


def test_the_rest_is_built_all_the_same(tmp_path):
    bad = tmp_path / "bad" / "certificate.json"
    bad.parent.mkdir()
    bad.write_text(json.dumps({"<i>": 1}), encoding="utf-8")
    site = build_site([bad, sample.write(tmp_path / "good")], tmp_path / "out")
    assert (site.certificates, len(site.refusals)) == (1, 1)
    text = site.index.read_text("utf-8")
    assert "Not readable" in text
    assert "bad/certificate.json" in text
    assert str(tmp_path) not in text, "the folders of whoever built the page are nobody's business"


def test_read_checked_raises_the_one_error_for_callers(tmp_path):
    with pytest.raises(CertificateError, match="No such file"):
        entry.read_checked(tmp_path / "absent.json")
