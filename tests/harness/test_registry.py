import pytest

from bench.errors import BadInputError
from bench.harness.registry import DEFENSES, NETWORKS, Registry


def test_a_miss_suggests_what_was_meant():
    with pytest.raises(BadInputError, match=r"--defense fakeclas: unknown defense; did you mean 'fakeclass'\?"):
        DEFENSES.load("fakeclas")


@pytest.mark.parametrize("name", ["familiar:cn", "familiar:gated:cn"])
def test_a_miss_in_a_part_is_told_by_all_that_was_given(name):
    with pytest.raises(BadInputError, match=rf"^--network {name}: unknown network; did you mean 'cnn'\?"):
        NETWORKS.load(name)


def test_a_collision_is_loud_and_registering_again_is_not():
    registry = Registry("thing", "--thing")
    first = object()
    registry.register("a", first)
    registry.register("a", first)
    with pytest.raises(BadInputError, match="two things are called thing 'a'"):
        registry.register("a", object())


def test_a_path_is_imported():
    assert NETWORKS.load("torch.nn:Linear").__name__ == "Linear"


@pytest.mark.parametrize("path", ["nowhere.at.all:x", "torch.nn:Nothing", "torch.nn:", ":x"])
def test_a_path_that_cannot_be_imported_is_one_clear_line(path):
    with pytest.raises(BadInputError) as caught:
        NETWORKS.load(path)
    assert "expected module:attr" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_everything_registered_loads():
    for registry in (DEFENSES, NETWORKS):
        assert all(callable(registry.load(name)) for name in registry.names())
