"""Attacks of Foolbox, ART and torchattacks as ours: how strong they are here, and what they must not touch."""

from __future__ import annotations

import builtins
import os
import random
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from attack_table import UNREACHABLE, Linear, Recorder, attacked, random_linear, solvable, spec_of, successes

from attacks.peers.reduction import TwoLogits
from attacks.prune import Sparsest
from bench.errors import BadInputError, NonFiniteError
from bench.harness.registry import ATTACKS
from bench.meter import BudgetExceededError, Meter
from bench.types import ThreatModel, lit_pixels
from tests.harness import runs

LIBRARIES = ("foolbox", "art", "torchattacks")
OPTIMUM, ALL = 4, 64
SHAPE = (1, 8, 8)
BLANK = torch.zeros(1, *SHAPE)

# What each finds with 1000 passes, in multiples of the fewest pixels that can; 16: any number of pixels will do.
FOUND = {
    "foolbox:L0FMNAttack": 1,
    "foolbox:L1FMNAttack": 1.5,
    "foolbox:EADAttack": 3,
    "foolbox:SparseL1DescentAttack": 1.5,
    "foolbox:L2CarliniWagnerAttack(stepsize=0.1)": 16,
    "foolbox:NewtonFoolAttack(stepsize=1)": 16,
    "foolbox:BoundaryAttack": 16,
    "art:SaliencyMapMethod(theta=1.0)": 1,
    "art:ElasticNet": 16,
    "art:SquareAttack": 16,
    "art:CarliniL2Method(learning_rate=1.0)": 16,
    "art:HopSkipJump": 16,
    "torchattacks:JSMA": 1,
    "torchattacks:SparseFool": 16,
    "torchattacks:PGDL2": 16,
    "torchattacks:CW(c=10)": 16,
}
SAMPLE = (
    "foolbox:L0FMNAttack",
    "foolbox:SaltAndPepperNoiseAttack",
    "art:ProjectedGradientDescent",
    "torchattacks:JSMA",
)


@pytest.fixture(autouse=True, scope="module")
def _libraries():
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed: pip install -e '.[peers]'"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def problem(name: str) -> str:
    """What a user is told who asks for it."""
    with pytest.raises(BadInputError) as caught:
        ATTACKS.load(name)
    message = str(caught.value)
    assert message.startswith(f"--attack {name}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", FOUND)
def test_it_finds_what_it_can_on_a_network_whose_optimum_is_known(name):
    network, targets = solvable(SHAPE, 3, 1, OPTIMUM, seed=0), torch.tensor([0, 2, 1, 0])
    meter = Meter(network, spec_of(SHAPE, 3), allowance=1000 * len(targets))
    images = attacked(ATTACKS.load(name), meter, targets, k=0, passes=1000)
    assert torch.equal(images, spec_of(SHAPE, 3).round(images))
    assert successes(network, images, targets, k=ALL).all()
    assert (lit_pixels(images) <= FOUND[name] * OPTIMUM).all()


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("passes", [1, 2, 3, 20, 101])
def test_no_image_costs_more_than_its_passes(name, passes):
    meter = Meter(random_linear(SHAPE, 3), spec_of(SHAPE, 3), allowance=3 * passes)
    attacked(ATTACKS.load(name), meter, torch.tensor([0, 1, 1]), k=5, passes=passes, p=UNREACHABLE)
    assert meter.passes <= meter.allowance
    assert meter.passes > 0 or passes < 3


@pytest.mark.parametrize(
    "name", ["foolbox:SaltAndPepperNoiseAttack", "art:SquareAttack", "torchattacks:OnePixel(pixels=3)", *SAMPLE[:1]]
)
def test_a_seed_decides_every_byte_and_the_global_state_nothing(name):
    network, targets = random_linear(SHAPE, 3), torch.tensor([0, 2, 1, 0])

    def run(seed):
        torch.manual_seed(seed + 100), np.random.seed(seed + 100), random.seed(seed + 100)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        meter = Meter(network, spec_of(SHAPE, 3))
        images = attacked(ATTACKS.load(name), meter, targets, k=20, passes=200, p=0.99, seed=seed % 2)
        assert torch.equal(before[0], torch.get_rng_state())
        assert (before[1] == np.random.get_state()[1]).all()
        assert before[2] == random.getstate()
        return images

    same, again, other = run(0), run(2), run(1)
    assert torch.equal(same, again)
    assert torch.equal(same, other) == (name in SAMPLE[:1])  # FMN draws nothing


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("rows", ["one", "each"])
def test_a_mask_holds_pixels_at_zero_in_all_the_network_sees(name, rows):
    targets = torch.tensor([0, 1, 1])
    count = 1 if rows == "one" else len(targets)
    mask = (torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    recorder = Recorder(random_linear(SHAPE, 3), spec_of(SHAPE, 3))
    images = attacked(ATTACKS.load(name), recorder, targets, k=ALL, passes=200, p=0.999, mask=mask)
    assert (images * (1 - mask) == 0).all()
    assert (lit_pixels(images) > 0).all()
    free = mask.amax(dim=0)
    assert all((batch * (1 - free) == 0).all() for batch in recorder.batches)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_start_is_where_the_search_begins(name):
    start = torch.zeros(2, *SHAPE)
    start[0, 0, 0, :4], start[1, 0, 3, :4] = 0.75, 0.5
    recorder = Recorder(random_linear(SHAPE, 3), spec_of(SHAPE, 3))
    attacked(ATTACKS.load(name), recorder, torch.tensor([0, 2]), k=ALL, passes=20, p=0.999, start=start)
    for row in start:
        assert any((image == row).all() for batch in recorder.batches for image in batch)


def test_attacks_that_near_a_boundary_from_below_cross_p_all_the_same():
    spec, targets = spec_of(SHAPE, 2), torch.tensor([0])
    even = Linear(torch.zeros(2, ALL))  # p = 0.5 is just reached
    meter = Meter(even, spec)
    network = TwoLogits(meter, Sparsest(meter, targets, ThreatModel(0.5, 0)), BLANK + 1, 9)
    wanted, other = network(BLANK)[0].tolist()
    assert -0.1 < wanted - other < 0


def test_each_class_has_to_reach_its_own_probability():
    network, targets, p = solvable(SHAPE, 3, 1, OPTIMUM, seed=0), torch.tensor([0, 1, 2]), (0.5, 0.9, 0.97)
    meter = Meter(network, spec_of(SHAPE, 3))
    images = attacked(ATTACKS.load("foolbox:L0FMNAttack"), meter, targets, k=0, passes=1000, p=p)
    assert successes(network, images, targets, k=ALL, p=p).all()
    low, nominal, high = lit_pixels(images).tolist()
    assert low < nominal == OPTIMUM < high


@pytest.mark.parametrize("name", ["foolbox:L0FMNAttack", "art:SaliencyMapMethod(theta=1.0)", "torchattacks:JSMA"])
def test_classes_in_one_batch_are_not_mixed_up_and_fake_ones_count(name):
    targets, spec = torch.tensor([2, 0, 2, 1, 0]), spec_of(SHAPE, 3)
    network = random_linear(SHAPE, 3, fake=3)
    images = attacked(ATTACKS.load(name), Meter(network, spec), targets, k=0, passes=600)
    assert (network(images).softmax(dim=1).gather(1, targets[:, None]) >= 0.9).all()
    assert network(images)[:, :3].softmax(dim=1).gather(1, targets[:, None]).min() > 0.9  # the fake ones held it back


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("foolbox:L0FMNAttack(steps=5)", "foolbox:L0FMNAttack(steps=50)"),
        ("art:ProjectedGradientDescent(max_iter=5)", "art:ProjectedGradientDescent(max_iter=50)"),
        ("torchattacks:PGDL2(steps=5)", "torchattacks:PGDL2(steps=50)"),
    ],
)
def test_arguments_are_passed_on(short, long):
    def passes(name):
        meter = Meter(random_linear(SHAPE, 3), spec_of(SHAPE, 3))
        attacked(ATTACKS.load(name), meter, torch.tensor([0, 0]), k=0, passes=1000, p=UNREACHABLE)
        return meter.passes / 2

    assert 8 <= passes(short) <= 20
    assert 90 <= passes(long) <= 110


def test_the_size_of_the_ball_is_the_threat_models_unless_given():
    network, targets = solvable(SHAPE, 3, 1, OPTIMUM, seed=0), torch.tensor([0])

    def brightest(name, k):
        images = attacked(
            ATTACKS.load(name), Meter(network, spec_of(SHAPE, 3)), targets, k=k, passes=300, p=UNREACHABLE
        )
        return images.square().sum().sqrt()

    assert brightest("foolbox:L2PGD", k=64) > 4
    assert brightest("torchattacks:PGDL2", k=64) > 4
    assert 0.5 < brightest("torchattacks:PGDL2(eps=1, random_start=False)", k=64) < 1.3
    assert 0.5 < brightest("foolbox:L2PGD(epsilon=1, random_start=False)", k=64) < 1.3


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("foolbox:L0FMNAtack", ["unknown attack", "did you mean 'L0FMNAttack'?", "L1FMNAttack"]),
        ("foolbox:PyTorchModel", ["unknown attack"]),
        ("art:EvasionAttack", ["unknown attack"]),
        ("torchattacks:Attack", ["unknown attack"]),
        ("foolbox:L0FMNAttack(100)", ["an argument without a keyword", "foolbox:Name(steps=100)"]),
        ("foolbox:L0FMNAttack(**{'steps': 1})", ["an argument without a keyword"]),
        ("art:ElasticNet(max_iter=10 ** 2)", ["max_iter=10 ** 2 is no literal"]),
        ("art:ElasticNet(max_iter=__import__('os').getpid())", ["is no literal"]),
        ("foolbox:L0FMNAttack(stepz=3)", ["takes no argument 'stepz'", "did you mean 'steps'?"]),
        ("torchattacks:PGDL2(model=3)", ["takes no argument 'model'"]),
        ("foolbox:", ["not an attack and its arguments", "NAME(keyword=value, ...)"]),
        ("foolbox:L0FMNAttack(steps=", ["not an attack and its arguments"]),
        ("foolbox:attacks.EADAttack()", ["not an attack and its arguments"]),
        ("art:ElasticNet(max_iter=-1)", ["it can't be built", "iterations"]),
    ],
)
def test_what_can_not_be_had_is_said_in_one_line(name, parts):
    message = problem(name)
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library_is_named_with_the_way_to_get_it(library, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real(name, *rest)

    for module in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(builtins, "__import__", without)
    message = problem(f"{library}:Any")
    assert library in message.split(": ", 1)[1]
    assert "pip install -e '.[peers]'" in message


def test_numba_is_asked_for_by_the_attacks_that_need_it(monkeypatch):
    brendel_bethge = import_module("foolbox.attacks.brendel_bethge")
    missing = ModuleNotFoundError("No module named 'numba'", name="numba")
    monkeypatch.setattr(brendel_bethge, "NUMBA_IMPORT_ERROR", missing)
    message = problem("foolbox:L0BrendelBethgeAttack")
    assert "expected numba: pip install -e '.[peers]'" in message


def test_an_attack_that_does_not_run_on_these_images_says_so():
    network = random_linear(SHAPE, 3)
    attack = ATTACKS.load("foolbox:L2AdditiveGaussianNoiseAttack(epsilon='wide')")
    with pytest.raises(BadInputError, match=r"L2Additive.*'wide'\): it does not run on these images: "):
        attacked(attack, Meter(network, spec_of(SHAPE, 3)), torch.tensor([0]), k=5, passes=50)


def test_errors_that_the_harness_knows_pass_through():
    meter = Meter(random_linear(SHAPE, 3), spec_of(SHAPE, 3), allowance=10)
    with pytest.raises(BudgetExceededError):
        attacked(ATTACKS.load("foolbox:L0FMNAttack"), meter, torch.tensor([0]), k=5, passes=50)

    class Raises(Meter):
        def __call__(self, images):
            raise NonFiniteError("no number")

    with pytest.raises(NonFiniteError, match="no number"):
        attacked(
            ATTACKS.load("art:ElasticNet"),
            Raises(random_linear(SHAPE, 3), spec_of(SHAPE, 3)),
            torch.tensor([0]),
            k=5,
            passes=50,
        )


def test_foolbox_does_not_crash_where_nothing_succeeds():
    meter = Meter(random_linear(SHAPE, 3), spec_of(SHAPE, 3))
    attacked(ATTACKS.load("foolbox:L0FMNAttack"), meter, torch.tensor([0, 1]), k=0, passes=400, p=UNREACHABLE)
    assert meter.passes > 700


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_none_is_imported_before_it_is_asked_for():
    code = "import sys, attacks.fixtures, attacks.peers, bench.harness.registry; print(*sys.modules)"
    assert not {*LIBRARIES, "numba"} & set(python(code).split())


def test_art_leaves_the_home_folder_alone(tmp_path):
    code = (
        "import os\n"
        "from bench.harness.registry import ATTACKS\n"
        "ATTACKS.load('art:ElasticNet')\n"
        "print(os.environ['HOME'])"
    )
    assert python(code, HOME=str(tmp_path)).strip() == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_takes_one_with_its_arguments_beside_ours(trained_root):
    name = "foolbox:L0FMNAttack(steps=20)"
    options = (*runs.UNDEFENDED, f"--attack={name}", f"--run-root={trained_root}")
    status, output = runs.run(*options, "-v", "-k", "final_network")
    assert f"[{name}-final]" in output
    assert "BadInputError" not in output
    assert status == 1, output  # an undefended network is fooled
    assert "nothing certified" in output
