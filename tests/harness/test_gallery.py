"""How several processes of a run make its images together; another one is played by a thread with its own store."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from bench.harness import gallery as module
from bench.harness.gallery import Gallery
from bench.harness.step import stored_name
from bench.store import Store
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified

ATTACKS = ("a", "b", "c")
FOOLED = {"a": {0, 3}, "b": {1}, "c": set()}  # targets that fall to each attack wherever it is asked for them
N, K = 4, 1
PATIENCE = 20  # seconds
SPEC = ImageSpec((1, 1, 2), 1, ("x", "y"))


def session(folder, made):
    """What a gallery needs of one; `made` hears of each step: (name of the file, targets)."""
    store = Store(folder)

    def generate_and_store(asked, name, attack, network, targets, which, **how):
        made.append((name, which.tolist()))
        store_images(store, name, attack, which)

    found = SimpleNamespace(
        settings=SimpleNamespace(
            attacks=ATTACKS, plan=SimpleNamespace(images=N), attack=SimpleNamespace(restarts=1), seed=0
        ),
        store=store,
        spec=SPEC,
        k=K,
        attacks={name: name for name in ATTACKS},
        network_at=lambda place: None,
        threat_of=lambda network: ThreatModel((0.9, 0.9), K),
        say=lambda text: None,
        rounds_before_selected=lambda: [],
    )
    found.gallery = Gallery(found)
    found.gallery.price = lambda name: float(ATTACKS.index(name))
    return found, generate_and_store


def store_images(store, name, attack, which):
    fooled = torch.tensor([int(target) in FOOLED[attack] for target in which], dtype=torch.bool)
    outcome = torch.where(fooled, OUTCOMES.index(Outcome.FOOLING), OUTCOMES.index(Outcome.NEITHER))
    images = Verified(torch.zeros(len(which), *SPEC.shape), which % 2, *_columns(len(which), outcome))
    store.save_tensors(name, {**vars(images), "which": which, "counts": torch.zeros(3, dtype=torch.long)})


def _columns(n, outcome):
    return torch.zeros(n), torch.zeros(n, dtype=torch.long), torch.zeros(n).double(), outcome


@pytest.fixture
def run(tmp_path, monkeypatch):
    """-> a session, the steps that it takes, its folder."""
    made = []
    found, generate_and_store = session(tmp_path, made)
    monkeypatch.setattr(module, "generate_and_store", generate_and_store)
    monkeypatch.setattr(Gallery, "_beside", lambda *of: iter(()))  # tests/harness/test_thinning.py has it
    return found, made, tmp_path


def test_saved_passes_may_buy_ten_times_the_starts_of_the_budget(run, monkeypatch):
    found, _, _ = run
    found.settings.attack.restarts = 2
    given, store = [], module.generate_and_store
    monkeypatch.setattr(module, "generate_and_store", lambda *what, **how: (given.append(how), store(*what, **how)))
    found.gallery.made("control", "a")
    assert [how["most_starts"] for how in given] == [20]


@contextmanager
def another_at_work(folder, name, attack, which, until):
    """Another process makes `name`, and is done when `until()` holds, which may not take long."""
    other, begun, given_up, waited = Store(folder), threading.Event(), threading.Event(), threading.Event()
    last = time.monotonic() + PATIENCE

    def work():
        with other.working(name):
            begun.set()
            while not until() and not given_up.is_set() and not waited.is_set():
                time.sleep(0.005)
                if time.monotonic() > last:
                    waited.set()
            store_images(other, name, attack, which)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        given_up.set()
        thread.join()
    assert not waited.is_set(), f"what should go on beside another process waited for it for {PATIENCE} s"


def step(attack):
    return stored_name("cascade-final", attack, N, K)


def targets(cascade):
    return {name: made.targets.tolist() for name, made in cascade.items()}


ALONE = {"a": [0, 1, 2, 3], "b": [1, 2], "c": [2]}


def test_one_process_takes_each_step_once_for_what_stands(run):
    found, made, _ = run
    assert targets(found.gallery.cascade()) == ALONE
    assert made == [(step(name), which) for name, which in ALONE.items()]


def test_a_process_goes_ahead_of_another_and_takes_again_what_it_guessed_wrong(run):
    found, made, folder = run
    with another_at_work(folder, step("a"), "a", torch.arange(N), until=lambda: found.store.has(step("c"))):
        assert targets(found.gallery.cascade()) == ALONE
    ahead = [(step("b"), [0, 1, 2, 3]), (step("c"), [0, 2, 3])]  # as far as was known
    assert made == [*ahead, (step("b"), [1, 2]), (step("c"), [2])]
    assert {name: found.store.load_tensors(step(name))["which"].tolist() for name in ATTACKS} == ALONE


def test_a_right_guess_is_kept(run, monkeypatch):
    found, made, folder = run
    monkeypatch.setitem(FOOLED, "a", set())
    with another_at_work(folder, step("a"), "a", torch.arange(N), until=lambda: found.store.has(step("c"))):
        found.gallery.cascade()
    assert made == [(step("b"), [0, 1, 2, 3]), (step("c"), [0, 2, 3])]


def test_images_that_another_process_makes_are_left_to_it(run):
    found, made, folder = run
    name = stored_name("control", "a", N, K)
    with another_at_work(folder, name, "a", torch.arange(N), until=lambda: len(made) == 2):
        found.gallery.share(("control", attack) for attack in ATTACKS)
        assert [file for file, _ in made] == [stored_name("control", attack, N, K) for attack in ("b", "c")]
        found.gallery.made("control", "a")  # waits for the other
    assert len(made) == 2


def test_steps_of_a_sweep_that_another_process_makes_are_left_to_it(run):
    found, made, folder = run
    found.k = 20
    name, images = stored_name("final", "a", 30, 10), torch.arange(30)
    with another_at_work(folder, name, "a", images, until=lambda: len(made) == 2):
        found.gallery.share_sweep("final", "a")
        assert [file for file, _ in made] == [stored_name("final", "a", 30, k) for k in (5, 20)]
    assert list(found.gallery.sweep("final", "a")) == [5, 10, 20]
    assert len(made) == 2


def test_a_step_that_another_process_takes_again_is_not_read_meanwhile(run):
    found, made, folder = run
    store_images(found.store, step("b"), "b", torch.arange(N))
    read, early = found.gallery._read, []

    def heard(name):
        if not found.store.has(step("c")):
            early.append(name)
        return read(name)

    found.gallery._read = heard
    every, done = torch.arange(N), lambda: found.store.has(step("c"))
    with another_at_work(folder, step("a"), "a", every, done), another_at_work(folder, step("b"), "b", every, done):
        assert targets(found.gallery.cascade()) == ALONE
    assert early == []
    assert made[0] == (step("c"), [0, 1, 2, 3])  # nothing is known of what is in work
