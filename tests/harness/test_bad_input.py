from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.errors import BadInputError
from bench.harness.preflight import preflight
from bench.harness.session import Session
from bench.materials.networks import mlp
from bench.types import ImageSpec
from tests.harness.runs import SMALL, run, settings

DIGITS = ImageSpec((1, 8, 8), 16, tuple("0123456789"))


def refusal(tmp_path, **changed):
    with pytest.raises(BadInputError) as caught:
        preflight(Session(settings(tmp_path, **changed)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_good_input_is_let_through_and_trains_nothing(tmp_path):
    preflight(Session(settings(tmp_path)))
    assert [path.name for path in (tmp_path / "runs").rglob("*.safetensors")] == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"defense": "fakeclas"}, "did you mean 'fakeclass'"),
        ({"defense": "math:pi"}, "expected a generator function"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"network": "cnnn"}, "did you mean 'cnn'"),
        ({"network": "math:sqrt"}, "expected a function of (spec, outputs)"),
        ({"network": "builtins:list"}, "--network builtins:list"),
        ({"attacks": ("nowhere:f",)}, "--attack nowhere:f"),
        ({"attacks": ("math:pi",)}, "expected a function"),
        ({"k": 0}, "expected 1 to 64"),
        ({"k": 65}, "expected 1 to 64"),
        ({"dataset": "mnist"}, "--download"),
    ],
)
def test_names_and_numbers(tmp_path, changed, expected):
    assert expected in refusal(tmp_path, **changed)


def checkpoint(tmp_path, network, name="net.safetensors"):
    path = tmp_path / name
    save_file(network.state_dict(), path)
    return path


def test_checkpoints(tmp_path):
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    assert "text.safetensors" in refusal(tmp_path, checkpoint=text)
    assert "none.pt" in refusal(tmp_path, checkpoint=tmp_path / "none.pt")
    assert "8" in refusal(tmp_path, checkpoint=checkpoint(tmp_path, mlp(DIGITS, 8)))
    broken = mlp(DIGITS, 10)
    torch.nn.init.constant_(broken[1].weight, float("nan"))
    assert "finite" in refusal(tmp_path, checkpoint=checkpoint(tmp_path, broken))
    other = ImageSpec((1, 9, 9), 16, DIGITS.class_names)
    assert "81" in refusal(tmp_path, checkpoint=checkpoint(tmp_path, mlp(other, 10)))


def test_a_network_with_too_few_logits_or_nan(tmp_path, monkeypatch):
    (tmp_path / "ownnets.py").write_text(
        "from torch import nn\n"
        "def short(spec, outputs): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
        "class Nan(nn.Linear):\n"
        "    def forward(self, x): return super().forward(x.flatten(1)) / 0 * 0\n"
        "def nan(spec, outputs): return Nan(64, outputs)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "(8, 3)" in refusal(tmp_path, network="ownnets:short")
    assert "not finite" in refusal(tmp_path, network="ownnets:nan")


def test_a_bug_in_a_users_module(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("def attack(:\n")
    (tmp_path / "unnamed.py").write_text("attack = undefined\n")
    (tmp_path / "keyless.py").write_text(
        "from torch import nn\n"
        "class Keyless(nn.Flatten):\n"
        "    def forward(self, x): return {}['logits']\n"
        "def on_images(spec, outputs): return Keyless()\n"
        "def at_once(spec, outputs): return {}['layers']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "SyntaxError: invalid syntax (half_written.py, line 1)" in refusal(
        tmp_path, attacks=("half_written:attack",)
    )
    assert "NameError: name 'undefined'" in refusal(tmp_path, attacks=("unnamed:attack",))
    assert "it does not run on images (1, 8, 8): KeyError: 'logits'" in refusal(tmp_path, network="keyless:on_images")
    assert "KeyError: 'layers'; expected a function" in refusal(tmp_path, network="keyless:at_once")


def test_a_function_of_something_else(tmp_path, monkeypatch):
    (tmp_path / "others.py").write_text(
        "from bench.task import defense\n"
        "number = 3\n"
        "def old(model, targets, *, threat, budget): return targets\n"
        "@defense()\n"
        "def alone(task): yield\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    attack = "expected a function of (classifier, targets, threat=, budget=, generator=)"
    assert f"got an unexpected keyword argument 'generator'; {attack}" in refusal(tmp_path, attacks=("others:old",))
    assert f"--attack others:number: int '3'; {attack}" in refusal(tmp_path, attacks=("others:number",))
    defense = "too many positional arguments; expected a function of (task, recorder)"
    assert f"--defense math:sqrt: {defense}" in refusal(tmp_path, defense="math:sqrt")
    assert f"--defense others:alone: {defense}" in refusal(tmp_path, defense="others:alone")


def test_a_weak_attack_by_a_strong_ones_name(tmp_path, monkeypatch):
    """Criterion 7 asks about attacks that training did not use, by their names."""
    (tmp_path / "renames.py").write_text(
        "from attacks.l1_sparse import l1_sparse\n"
        "from bench.task import defense\n"
        "@defense(masked=l1_sparse)\n"
        "def renames(task, recorder): yield\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "what it calls 'masked' is another attack" in refusal(tmp_path, defense="renames:renames")


def test_a_folder_with_one_class(tmp_path):
    (tmp_path / "own" / "only").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "own" / "only" / "a.png")
    assert "one class" in refusal(tmp_path, dataset=f"folder:{tmp_path / 'own'}")


def test_run_directories(tmp_path):
    (tmp_path / "file").write_text("")
    assert "--run-root" in refusal(tmp_path, run_root=tmp_path / "file")
    own = tmp_path / "own"
    preflight(Session(settings(tmp_path, run_dir=own)))
    assert "other settings (data, seed)" in refusal(tmp_path, run_dir=own, seed=1)
    session = Session(settings(tmp_path, run_dir=own))
    with session.store.hold(), pytest.raises(BadInputError, match="another run holds it"):
        Session(settings(tmp_path, run_dir=own)).store.hold().__enter__()


def test_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    assert "config.json is no run's" in refusal(tmp_path, run_dir=tmp_path)


def test_a_defense_beside_weights_that_it_would_not_train(tmp_path):
    status, output = run("--defense=acet", "--checkpoint=any.safetensors", "--run-root", str(tmp_path / "runs"), *SMALL)
    assert status == 4
    assert "ERROR: --defense acet beside --checkpoint; expected one of them" in output


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (None, None),
        (Path("/home/ann/nets/net.pt"), "net.pt"),
        (Path("/home/ann/runs/mnist-fakeclass-1-ab/rounds/006/network.safetensors"),
         "mnist-fakeclass-1-ab/rounds/006/network.safetensors"),
        (Path("mnist-fakeclass-1-ab/rounds/006/network.safetensors"),
         "mnist-fakeclass-1-ab/rounds/006/network.safetensors"),
    ],
)  # fmt: skip
def test_weights_of_a_round_are_called_by_their_run(tmp_path, path, name):
    assert settings(tmp_path, checkpoint=path).weights_name == name


def test_the_command_ends_with_one_line_and_status_4(tmp_path):
    status, output = run("--defense=fakeclas", "--run-root", str(tmp_path / "runs"), *SMALL)
    assert status == 4
    assert "ERROR: --defense fakeclas: unknown defense; did you mean 'fakeclass'?" in output
    assert "Traceback" not in output
    assert not (tmp_path / "runs").exists()
