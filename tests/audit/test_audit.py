"""`python -m reports verify`: what follows from stored images and weights is believed only when computed again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from bench.budgets import BUDGETS
from bench.consistency import REQUIRED_ATTACKS
from bench.record import RULES, read_certificate
from reports.__main__ import main
from reports.identity import identity
from reports.ledger import read_ledger
from tests.audit.handed_in import blank, change_certificate, change_json, change_tensors, rewrite, shifted
from tests.harness import runs
from tests.reports import sample

CASCADE = "generated/cascade-final/l1_sparse-60x24.safetensors"
EVOLUTION = "generated/evolution/round-001.safetensors"
CONTROL = "generated/control/l1_sparse-60x24.safetensors"
BOUGHT = ("name", "images", "passes", "restarts")


def verify(*arguments: object, ledger) -> int:
    return main(["verify", *map(str, arguments), "--ledger", str(ledger)])


@pytest.fixture
def refused(tmp_path, capsys):
    """Verify a folder, see that it is refused and not entered -> the reasons."""

    def check(folder, *options: str) -> list[str]:
        ledger = tmp_path / "ledger.json"
        assert verify(folder, *options, ledger=ledger) == 1
        assert not ledger.exists()
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert all(line.startswith(f"refused: {folder}: ") for line in lines), lines
        return [line.removeprefix(f"refused: {folder}: ") for line in lines]

    return check


def snapshot(folder) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def stored_images(folder) -> int:
    """How many images an attack made that the folder holds."""
    return sum(len(load_file(file).get("targets", ())) for file in folder.rglob("*.safetensors"))


def test_a_good_folder_is_verified_and_left_as_it_was(undefended, with_rounds, tmp_path, capsys):
    before = {folder: snapshot(folder) for folder in (undefended, with_rounds)}
    ledger = tmp_path / "ledger.json"
    assert verify(undefended, with_rounds, ledger=ledger) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("verified: ") == 2
    assert "taken on trust: That the attacks ran as the settings say (600 passes" in captured.out
    assert "note: " not in captured.out  # the same code, torch and device made it
    entries = read_ledger(ledger)
    for folder, files in before.items():
        assert f", {stored_images(folder)} images scored again by " in captured.out  # each of them once
        assert snapshot(folder) == files
        entry = entries[identity(read_certificate(folder / "certificate.json"))]
        assert len(entry.taken_on_trust) == 5
    assert list(json.loads(ledger.read_text())) == sorted(entries)


def test_what_people_said_changes_nothing_and_is_named_as_trusted(undefended, tmp_path, capsys):
    folder = shutil.copytree(undefended, tmp_path / "handed-in")
    key = identity(read_certificate(undefended / "certificate.json"))
    change_certificate(folder, human=sample.human(key))
    ledger = tmp_path / "ledger.json"
    assert verify(folder, ledger=ledger) == 0
    assert "taken on trust: What people said of its images." in capsys.readouterr().out
    assert list(read_ledger(ledger)) == [key]


def test_every_changed_figure_is_named_with_what_is_said_and_found(folder, refused):
    def change(certificate: dict) -> None:
        certificate["criteria"][10]["observed"] -= 0.01
        certificate["criteria"][7]["verdict"] = (
            "fail" if certificate["criteria"][7]["verdict"] != "fail" else "inconclusive"
        )
        certificate["criteria"][8]["threshold"] = 0.01005  # a setting: no tolerance
        certificate["criteria"][0]["per_attack"][0]["outcomes"]["fooling"] -= 1
        certificate["rounds"][1]["validation_accuracy"] = 1.0
        certificate["judge_controls"][1]["n"] += 1
        certificate["threat"]["operating_point"][3] -= 0.001
        certificate["sheets"][0]["captions"][0] = "a real 3"
        certificate["summary"] = "All is well."
        certificate["evolution"][2]["sheet"]["captions"][7] = "a real 7"
        certificate["transfer"]["rows"][0]["fake_probability"][1] = 0.0
        certificate["perturbed"]["rows"][4]["control"]["upper"] -= 0.01

    change_json(folder, "certificate.json", change)
    reasons = refused(folder)
    assert {reason.partition(": ")[0] for reason in reasons} == {
        "criteria.10.observed",
        "criteria.7.verdict",
        "criteria.8.threshold",
        "criteria.0.per_attack.0.outcomes.fooling",
        "rounds.1.validation_accuracy",
        "judge_controls.1.n",
        "threat.operating_point.3",
        "sheets.0.captions.0",
        "summary",
        "transfer.rows.0.fake_probability.1",
        "perturbed.rows.4.control.upper",
        "evolution.2.sheet.captions.7",
    }
    assert "criteria.8.threshold: 0.01005 is said, 0.01 was found" in reasons


def test_what_a_run_computed_must_follow_too(folder, refused):
    change_json(folder, "proof.json", lambda proof: proof.update(sparsest_real=1))
    change_json(folder, "frontier.json", other_probability)
    change_json(folder, "perturbed.json", lambda perturbed: perturbed["rows"][3]["kept"].update(successes=60))
    change_json(folder, "transfer.json", lambda transfer: transfer["rows"][0].update(n=999))
    change_json(folder, "measurements/09.json", lambda measured: measured["measures"]["accuracy"].update(successes=1))
    (folder / "measurements" / "02.json").unlink()
    fields = {": ".join(reason.split(": ")[:2]) for reason in refused(folder)}
    assert fields == {
        "proof.json: sparsest_real",
        "frontier.json: rows.0.best_probability",
        "perturbed.json: rows.3.kept.successes",
        "transfer.json: rows.0.n",
        "measurements/09.json: measures.accuracy.successes",
        "measurements/02.json: a file of the run is said, no such file was found",
    }


def other_probability(frontier: dict) -> None:
    row = frontier["rows"][0]
    row["best_probability"] = (row["best_probability"] + 0.5) % 1


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        (CONTROL, blank(3), "probability[3]"),
        (CASCADE, blank(59), "outcome[59]"),
        ("rounds/001/train.safetensors", blank(0), "pixels[0]"),
        ("rounds/002/heldout.safetensors", blank(7), "score[7]"),
        (CASCADE, lambda it: it["outcome"].fill_(4), "outcome["),
        (CONTROL, lambda it: it["images"].mul_(0.999), "images["),
        (EVOLUTION, blank(5), "pixels[5]"),
        ("control.safetensors", shifted, f"{CONTROL}: probability[0]"),
        ("network-b.safetensors", shifted, "generated/network-b/l1_sparse-60x24.safetensors: probability[0]"),
        ("rounds/000/network.safetensors", shifted, "rounds/001/train.safetensors: probability["),
    ],
)
def test_images_and_weights_whose_hashes_all_fit_are_scored_again(folder, refused, name, change, field):
    change_tensors(folder, name, change)
    reasons = refused(folder)
    expected = field if "safetensors" in field else f"{name}: {field}"
    assert any(reason.startswith(expected) for reason in reasons), reasons
    assert not any(reason.startswith("hashes") for reason in reasons)


def test_an_attack_that_was_asked_for_other_targets_is_refused(folder, refused):
    change_tensors(folder, CASCADE, lambda it: it.update({key: it[key][:50] for key in it if key != "counts"}))
    assert refused(folder)[0].startswith(f"{CASCADE}: which: 50: [0, 1, ")
    change_tensors(folder, CONTROL, lambda it: it.update(targets=it["targets"].flip(0)))
    assert refused(folder)[0].startswith(f"{CONTROL}: targets: 60: [9, 8, ")


def test_an_evolution_of_other_targets_is_refused(folder, refused):
    change_tensors(folder, EVOLUTION, lambda it: it.update(targets=it["targets"].flip(0)))
    assert refused(folder)[0].startswith(f"{EVOLUTION}: targets: 20: [9, 8, ")


def test_bytes_that_do_not_fit_their_hash_are_refused(folder, refused):
    path = folder / "rounds" / "002" / "network.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert refused(folder)[0].startswith("hashes.rounds/002/network.safetensors: ")


@pytest.mark.parametrize("name", [CASCADE, EVOLUTION, "network-b.safetensors", "rounds/001/heldout.safetensors"])
def test_a_missing_file_is_refused_and_never_made_again(folder, refused, name):
    (folder / name).unlink()
    change_json(folder, "certificate.json", lambda certificate: certificate["hashes"].pop(name))
    assert f"{name}: a file of the run is said, no such file was found" in refused(folder)


def test_tensors_that_are_none_or_of_another_kind_are_refused(folder, refused):
    control = (folder / CONTROL).read_bytes()
    rewrite(folder, CONTROL, b"\x80\x04not safetensors")
    assert refused(folder) == [f"{CONTROL}: a safetensors file is said, SafetensorError was found"]
    rewrite(folder, CONTROL, control)
    change_tensors(folder, "rounds/002/network.safetensors", lambda it: it.update(extra=torch.zeros(1)))
    assert refused(folder)[0].startswith("rounds/002/network.safetensors: weights of the run's network is said, ")


@pytest.mark.parametrize("budget", ["quick", "standard"])
def test_certified_must_follow(folder, refused, budget):
    def change(certificate: dict) -> None:
        certificate["certified"] = True
        certificate["budget"].update({part: getattr(BUDGETS[budget], part) for part in BOUGHT})
        certificate["attacks"] = REQUIRED_ATTACKS
        certificate["frontier"]["rows"] = []
        certificate.update(evolution=[], perturbed=None)
        for criterion in certificate["criteria"]:
            allowed = criterion["threshold"]
            criterion.update(verdict="pass", n=300, observed=allowed, bound=allowed, per_attack=[], per_class=[])
        none = {"successes": 0, "n": 300, "observed": 0, "lower": 0, "upper": 0.01}
        row = {"verdict": "pass", "reason": "", "ratio": none, "healthy": True}
        rows = [row | {"attack": name} for name in REQUIRED_ATTACKS]
        classes = [{"label": label, "ratio": none | {"n": 30}} for label in certificate["class_names"]]
        certificate["criteria"][8].update(observed=0, figures={}, per_attack=rows, per_class=classes)

    change_json(folder, "certificate.json", change)
    reasons = refused(folder)
    if budget == "quick":
        assert reasons == ["certified: the quick budget can't certify; expected false"]
    else:
        assert "budget.name: 'standard' is said, 'quick' in config.json was found" in reasons
        assert "certified: True is said, False was found" in reasons


def test_fewer_passes_than_the_budget_has_are_refused(folder, refused):
    change_json(folder, "config.json", lambda config: config.update(passes=1))
    assert refused(folder) == [
        "config.json: passes: 1 is said, at least the 600 of budget quick expected: fewer are weaker was found"
    ]


def test_other_thresholds_are_named(folder, refused):
    def loosen(config: dict) -> None:
        config["thresholds"]["rates"]["8"] = 1.0

    change_json(folder, "config.json", loosen)
    assert "criteria.8.threshold: 0.01 is said, 1.0 was found" in refused(folder)
    change_json(folder, "certificate.json", lambda it: it["criteria"][8].update(threshold=1.0))
    reasons = refused(folder)  # what criterion 8 says of the old one
    assert not any(reason.startswith("criteria.8.threshold") for reason in reasons)
    assert "note: Its thresholds are looser than Distal's own (criteria 8)." in reasons


@pytest.mark.parametrize("file", ["../secret.png", "/etc/hostname", "sheets\\..\\x.png"])
def test_a_sheet_elsewhere_is_refused(folder, refused, file):
    change_json(folder, "certificate.json", lambda certificate: certificate["sheets"][0].update(file=file))
    (reason,) = refused(folder)
    assert reason.startswith("sheets.0: sheet ")


@pytest.mark.parametrize("of", ["sheets", "evolution"])
def test_a_sheet_of_other_images_is_refused(folder, refused, of):
    certificate = read_certificate(folder / "certificate.json")
    sheets = certificate.sheets if of == "sheets" else [step.sheet for step in certificate.evolution]
    first, second = (sheet.file for sheet in sheets[:2])
    shutil.copy(folder / second, folder / first)
    shown = (lambda it: it[of][0]) if of == "sheets" else (lambda it: it[of][0]["sheet"])
    change_json(folder, "certificate.json", lambda it: shown(it).update(sha256=sheets[1].sha256))
    assert refused(folder) == [f"{first}: a contact sheet of the stored images is said, another picture was found"]


@pytest.mark.parametrize("linked", [CONTROL, "rounds", "tensorboard/link"])
def test_links_are_refused(folder, refused, linked):
    path = folder / linked
    if path.exists():
        path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    assert refused(folder)[-1] == f"{linked}: a file of the run is said, a symbolic link was found"


def test_what_is_too_large_is_refused(folder, refused):
    with (folder / "config.json").open("ab") as file:
        file.truncate(17 * 2**20)
    assert "config.json: at most 16777216 bytes is said, 17825792 bytes was found" in refused(folder)


@pytest.mark.parametrize("field", ["defense", "network"])
def test_a_strangers_code_is_not_imported(folder, refused, tmp_path, monkeypatch, field):
    (tmp_path / "strange_code.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("strange_code:thing", "gated:strange_code:thing", "os:abort"):
        change_json(folder, "config.json", lambda config, name=name: config.update({field: name}))
        change_certificate(folder, **{field: name})
        found = "code that is no part of Distal, not imported without --trust-code"
        assert refused(folder) == [f"{field}: {name!r} is said, {found} was found"]
    assert "strange_code" not in sys.modules


def test_trusted_code_is_imported(folder, refused, tmp_path, monkeypatch):
    code = "from bench.materials.networks import mlp\n\ndef network(spec, outputs):\n    return mlp(spec, outputs)\n"
    (tmp_path / "trusted_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    change_json(folder, "config.json", lambda config: config.update(network="trusted_code:network"))
    change_certificate(folder, network="trusted_code:network")
    # Its network B is then another architecture, as the protocol has it: found out by the weights.
    assert refused(folder, "--trust-code")[0].startswith("network-b.safetensors: weights of the run's network is said")


def test_settings_must_agree_and_the_data_be_the_same(folder, refused):
    change_json(folder, "config.json", lambda config: config.update(seed=1))
    reasons = refused(folder)
    assert reasons[0] == "environment.seed: 0 is said, 1 in config.json was found"
    assert reasons[1].startswith("config.json: data: ")


def test_a_certificate_by_earlier_rules_is_refused_by_that_name(folder, refused):
    change_certificate(folder, rules=0)
    (reason,) = refused(folder)
    assert reason.startswith(f"certificate.json: rules: 0 is said, rules {RULES}, by which criteria count more or less")


def test_other_code_is_said(undefended, tmp_path, capsys):
    folder = shutil.copytree(undefended, tmp_path / "handed-in")
    change_json(folder, "config.json", lambda config: config.update(code="0" * 64, torch="1.0"))
    assert verify(folder, ledger=tmp_path / "ledger.json") == 0
    out = capsys.readouterr().out
    assert "note: It was made by other code (revision " in out
    assert "note: It was made with torch 1.0; here " in out


def test_what_cannot_be_read_is_exit_2(undefended, tmp_path, capsys):
    folder = shutil.copytree(undefended, tmp_path / "handed-in")
    assert verify(tmp_path / "absent", ledger=tmp_path / "ledger.json") == 2
    change_json(folder, "config.json", lambda config: config.update(dataset="mnist"))
    change_certificate(folder, dataset="mnist")
    assert verify(folder, "--data-root", tmp_path / "no-data", ledger=tmp_path / "ledger.json") == 2
    change_certificate(folder, scope="everything")
    assert verify(folder, ledger=tmp_path / "ledger.json") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("not readable: ") for line in lines] == [True] * 3
    assert "scope: " in lines[2]


def test_the_command_line(undefended, tmp_path):
    words = [sys.executable, "-m", "reports", "verify", undefended, "--ledger", tmp_path / "ledger.json"]
    done = subprocess.run(words, cwd=runs.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
