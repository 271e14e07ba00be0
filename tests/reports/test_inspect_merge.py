"""Marks merged into a certificate: figures against hand-computed ones, and every refusal."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

from bench.record import InspectionError
from reports import inspect_files
from reports.__main__ import main
from reports.build import build, build_site
from reports.entry import read_checked, safe_name
from reports.identity import identity
from reports.inspect_files import KeyItem, page_id
from reports.inspect_merge import merge
from reports.inspect_words import people_sentence
from tests.reports import sample
from tests.reports.page import certificate_pages, read
from tests.reports.test_hostile import PAYLOAD

# kind, place, label, score, rejected at working, rejected at strict
IMAGES = {
    "a": ("real", None, "1", 1.0, False, False),
    "b": ("real", None, "2", 2.0, False, False),
    "c": ("real", None, "3", 3.0, False, False),
    "d": ("real", None, "4", 6.0, True, False),
    "e": ("generated", "control", "5", 9.0, True, True),
    "f": ("generated", "control", "5", 8.0, True, True),
    "g": ("generated", "final", "6", 7.0, True, True),
    "h": ("generated", "final", "6", 4.0, False, False),
}
ANN = {"a": "1", "b": "7", "c": False, "d": None, "e": False, "f": "5", "g": False, "h": False}
BOB = {"a": "1", "b": "2", "c": "3", "d": "4", "e": False, "f": False, "g": False, "h": False}


def item(letter: str) -> str:
    return hashlib.sha256(letter.encode()).hexdigest()


def marks(said: dict[str, str | bool | None], pace: float = 1.0) -> list[dict]:
    """False is 'not real'; else the class, or None where it could not be told."""
    return [
        {
            "item": item(letter),
            "real": answer is not False,
            "label": answer or None,
            "seconds": pace + place / 100,
        }
        for place, (letter, answer) in enumerate(said.items())
    ]


class Inspected:
    """A certificate, the key of its page, and files as the page saves them."""

    def __init__(self, folder, images=IMAGES):
        self.folder = folder
        self.path = sample.write(folder / "run")
        self.certificate = identity(read_checked(self.path))
        fields = ("kind", "place", "label", "score", "rejected_working", "rejected_strict")
        rows = {item(letter): dict(zip(fields, known, strict=True)) for letter, known in images.items()}
        items = {name: row | {"attack": "masked" if row["place"] else None} for name, row in rows.items()}
        self.page = page_id(self.certificate, {name: KeyItem(**row) for name, row in items.items()})
        key = {"schema_version": 1, "certificate": self.certificate, "page": self.page, "items": items}
        self.key = self.write("key.json", key)

    def write(self, name, value):
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    def saved(self, name, said=ANN, pace=1.0, **changed):
        whole = {"schema_version": 1, "certificate": self.certificate, "page": self.page, "rater": name}
        return self.write(f"{safe_name(name)}.json", whole | {"marks": marks(said, pace)} | changed)

    def merge(self, *files):
        return merge(files, self.path, self.key)[1]

    def refused(self, *files, **where):
        """Why the files are not merged; the certificate stays as it was."""
        before = self.path.read_bytes()
        with pytest.raises(InspectionError) as caught:
            merge(files, where.get("path", self.path), where.get("key", self.key))
        assert self.path.read_bytes() == before
        return str(caught.value)


@pytest.fixture
def inspected(tmp_path):
    return Inspected(tmp_path)


def parts(share):
    return share.successes, share.n, round(share.lower, 4), round(share.upper, 4)


def test_one_persons_figures_by_hand(inspected):
    human = inspected.merge(inspected.saved("Ann"))
    (rater,) = human.raters
    assert (rater.name, rater.seconds) == ("Ann", pytest.approx(1.035))
    assert (human.images, human.real, human.marks, human.ties, human.kappa) == (8, 4, 8, 0, None)
    found = rater.figures
    assert human.pooled == found
    assert parts(found.agreement_strict) == (5, 8, 0.2449, 0.9148)
    assert parts(found.agreement_working) == (4, 8, 0.157, 0.843)
    assert parts(found.missed) == (1, 3, 0.0084, 0.9057)
    assert parts(found.overruled) == (1, 3, 0.0084, 0.9057)
    assert parts(found.false_alarms) == (1, 4, 0.0063, 0.8059)
    assert parts(found.control_taken) == (1, 2, 0.0126, 0.9874)
    assert parts(found.final_taken) == (0, 2, 0.0, 0.8419)
    assert parts(found.named) == (1, 4, 0.0063, 0.8059)
    assert found.auroc == 11 / 16


def test_two_people_are_pooled_by_majority_and_compared(inspected):
    human = inspected.merge(inspected.saved("Ann"), inspected.saved("Bob", BOB, pace=2))
    assert (human.marks, human.ties, human.pooled.images) == (16, 2, 6)
    assert human.kappa == pytest.approx(0.5)
    assert parts(human.pooled.agreement_strict)[:2] == (5, 6)
    assert parts(human.pooled.missed)[:2] == (1, 3)
    assert parts(human.pooled.overruled)[:2] == (0, 2)
    assert parts(human.pooled.named)[:2] == (1, 3), "a class counts where more than half named it"


def test_three_people_outvote_one(inspected):
    third = BOB | {"h": "6"}
    files = [inspected.saved("Ann"), inspected.saved("Bob", BOB, 2), inspected.saved("Cat", third, 3)]
    human = inspected.merge(*files)
    assert (human.ties, human.pooled.images) == (0, 8)
    assert parts(human.pooled.false_alarms)[:2] == (0, 4)
    # Ann with Bob 0.5; with Cat 5 of 8, by chance 0.5: 0.25; Bob with Cat 7 of 8, by chance 0.5: 0.75
    assert human.kappa == pytest.approx((0.5 + 0.25 + 0.75) / 3)


def test_whoever_says_the_same_of_all_ranks_nothing(inspected):
    nothing = dict.fromkeys(IMAGES, False)
    human = inspected.merge(inspected.saved("Ann", nothing), inspected.saved("Bob", nothing, 2))
    assert human.pooled.auroc is None
    assert human.kappa is None
    assert human.pooled.agreement_strict.successes == 3
    assert people_sentence(human)


def test_order_and_repetition_change_nothing(inspected):
    ann, bob = inspected.saved("Ann"), inspected.saved("Bob", BOB, 2)
    inspected.merge(ann)
    alone = inspected.path.read_bytes()
    inspected.merge(bob, ann)
    both = inspected.path.read_bytes()
    assert both != alone
    inspected.merge(ann, bob)
    assert inspected.path.read_bytes() == both
    inspected.merge(ann)
    assert inspected.path.read_bytes() == alone
    assert identity(read_checked(inspected.path)) == inspected.certificate


def test_a_failed_write_leaves_the_certificate(inspected, monkeypatch):
    before = inspected.path.read_bytes()
    ann = inspected.saved("Ann")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        inspected.merge(ann)
    assert inspected.path.read_bytes() == before
    assert {path.name for path in inspected.path.parent.iterdir()} == {"certificate.json", "sheets"}


OTHER = "0" * 64


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"certificate": OTHER}, "marks of another certificate (000000000000); expected "),
        ({"page": OTHER}, "marks of another page (000000000000); expected "),
        ({"marks": marks(ANN) + marks({"z": False})}, f"marks.8: item {item('z')[:12]} is not on the page"),
        ({"marks": marks(ANN) + marks({"a": False})}, "an image is marked twice"),
        ({"marks": marks(ANN | {"a": "\x1b[31mten"})}, "marks.0: class '\ufffd[31mten'; expected one of the"),
        ({"marks": [mark | {"real": False, "label": "1"} for mark in marks(ANN)]}, "a class for what is called not"),
        ({"marks": marks(ANN)[:3]}, "3 marks; expected at least 4 of the page's 8: go on"),
        ({"marks": []}, "0 marks; expected at least 4"),
        ({"marks": [mark | {"real": "yes"} for mark in marks(ANN)]}, "marks.0.real: "),
        ({"marks": [mark | {"real": 1} for mark in marks(ANN)]}, "marks.0.real: "),
        ({"marks": [mark | {"seconds": -1} for mark in marks(ANN)]}, "marks.0.seconds: "),
        ({"marks": [mark | {"seconds": float("inf")} for mark in marks(ANN)]}, "marks.0.seconds: "),
        ({"marks": [mark | {"item": "<b>"} for mark in marks(ANN)]}, "marks.0.item: "),
        ({"marks": [mark | {"label": "x" * 300} for mark in marks(ANN)]}, "marks.0.label: "),
        ({"marks": [{"item": item("a")}]}, "marks.0.real: Field required"),
        ({"marks": marks(ANN) * 200}, "marks: "),
        ({"rater": "x" * 81}, "rater: "),
        ({"rater": None}, "rater: "),
        ({"schema_version": 2}, "schema_version: "),
        ({"human": {}}, "human: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(inspected, change, expected):
    good, bad = inspected.saved("Bob", BOB, 2), inspected.saved("bad", **change)
    reason = inspected.refused(good, bad)
    assert reason.startswith(f"{bad}: ")
    assert expected in reason
    assert "\x1b" not in reason
    assert len(reason) < len(str(bad)) + 400


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 200_000, '{"marks":' * 50_000, "\ufeff{}"])
def test_what_are_no_marks_is_refused(inspected, text):
    bad = inspected.write("bad.json", text)
    assert inspected.refused(bad).startswith(f"{bad}: ")


def test_a_huge_file_a_folder_a_pipe_and_a_missing_file_are_refused(inspected, monkeypatch):
    assert "no such file" in inspected.refused(inspected.folder / "absent.json")
    assert "not a regular file" in inspected.refused(inspected.folder)
    os.mkfifo(inspected.folder / "pipe.json")
    assert "not a regular file" in inspected.refused(inspected.folder / "pipe.json")
    monkeypatch.setattr(inspect_files, "MAX_FILE", 1000)
    assert "larger than" in inspected.refused(inspected.saved("Ann"))


def test_one_inspection_counts_once(inspected):
    ann = inspected.saved("Ann")
    copy = inspected.write("copy.json", ann.read_text())
    assert "the same bytes as" in inspected.refused(ann, copy)
    earlier = inspected.saved("Annie", dict(list(ANN.items())[:5]))
    reason = inspected.refused(ann, earlier)
    assert reason.startswith(f"{earlier}: 5 marks are those of {ann} to the hundredth of a second")
    assert "101 files; expected at most 100" in inspected.refused(*[ann] * 101)


def test_a_key_that_was_changed_or_belongs_elsewhere_is_refused(inspected, tmp_path):
    ann = inspected.saved("Ann")
    key = json.loads(inspected.key.read_text())
    key["items"][item("h")]["kind"] = "real"
    changed = inspected.write("changed.json", key)
    assert inspected.refused(ann, key=changed).startswith(f"{changed}: changed since its page was made")
    other = sample.write(tmp_path / "other", seed=1)
    assert "the key of another certificate" in inspected.refused(ann, path=other)
    assert "expected a key" in inspected.refused(ann, key=ann)


def test_the_command_says_so_in_one_line(inspected, capsys):
    ann = inspected.saved("Ann")
    arguments = ["--certificate", str(inspected.path.parent), "--key", str(inspected.key)]
    assert main(["inspect", str(ann), *arguments]) == 0
    assert capsys.readouterr().out == f"{inspected.path}: 8 marks of 1 person merged\n"
    assert main(["inspect", str(ann), str(ann), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"python -m reports: error: {ann}: the same bytes as {ann}")
    assert captured.err.count("\n") == 1


def test_merging_needs_no_torch(inspected):
    ann = inspected.saved("Ann")
    program = (
        "import sys; from reports.__main__ import main; "
        "assert main(['inspect', sys.argv[1], '--certificate', sys.argv[2], '--key', sys.argv[3]]) == 0; "
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(ann), str(inspected.path), str(inspected.key)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "False"


def test_the_certificates_page_says_what_people_say(inspected):
    index = build([inspected.path], inspected.folder / "site")
    before = read(certificate_pages(index)[0])
    assert "Nobody has looked yet." in before.text
    assert "python -m reports inspection RUN" in before.text
    inspected.merge(inspected.saved(PAYLOAD[:80]), inspected.saved("Bob", BOB, 2))
    index = build([inspected.path], inspected.folder / "site")
    after = read(certificate_pages(index)[0])
    assert "Nobody has looked yet." not in after.text
    assert "Too few images to say whether people agree with the judge" in after.text
    assert "kappa 0.50" in after.text
    assert PAYLOAD[:80] in after.text
    assert not after.foreign
    assert after.names <= before.names
    data = json.loads((index.parent / "data.json").read_text())
    assert data["certificates"][0]["human_raters"] == 2
    assert ',"human_raters",' in (index.parent / "table.csv").read_text()


def test_what_people_said_of_another_certificate_is_refused(inspected):
    inspected.merge(inspected.saved("Ann"))
    data = json.loads(inspected.path.read_text())
    data["environment"]["seed"] += 1
    inspected.path.write_text(json.dumps(data))
    (refused,) = build_site([inspected.path], inspected.folder / "site").refusals
    assert refused.reason == "human: what people said of another certificate; merge the marks again"


@pytest.mark.parametrize(
    ("passed_by_judge", "taken_by_people", "expected"),
    [(0, 0, "People agree"), (12, 0, "People do not agree"), (0, 12, "People do not agree"), (3, 0, "Too few images")],
)
def test_the_sentence_follows_from_both_ways_to_differ(tmp_path, passed_by_judge, taken_by_people, expected):
    images = {f"r{n}": ("real", None, "1", 0.0, False, False) for n in range(30)}
    for n in range(30):
        rejected = n >= passed_by_judge
        images[f"g{n}"] = ("generated", "final", "1", 5.0, rejected, rejected)
    said: dict[str, str | bool] = {name: "1" for name in images if name.startswith("r")}
    said |= {f"g{n}": "1" if n >= 30 - taken_by_people else False for n in range(30)}
    inspected = Inspected(tmp_path, images)
    assert people_sentence(inspected.merge(inspected.saved("Ann", said))).startswith(expected)
