"""What a run's hash knows of a user's own code."""

from __future__ import annotations

import importlib
import sys
from functools import partial

import pytest

from bench.harness.provenance import source_hash
from bench.task import Defense

CODE = """
from torch import nn
from {helper} import SCALE

class Net(nn.Module):
    def forward(self, images):
        return SCALE * images

def make(spec, outputs):
    return Net()
"""


@pytest.fixture(params=["package", "folder", "relative", "file"])
def own(request, tmp_path, monkeypatch):
    """A module of one's own with a helper: (the module, the helper's path, the module's path).

    A folder may be a package without an `__init__.py`.
    """
    monkeypatch.syspath_prepend(tmp_path)
    if request.param != "file":
        (tmp_path / "own").mkdir()
        if request.param == "package":
            (tmp_path / "own" / "__init__.py").write_text("")
        folder, module, helper = tmp_path / "own", "own.net", "own.helper"
    else:
        folder, module, helper = tmp_path, "own_net", "own_helper"
    paths = folder / f"{helper.rpartition('.')[2]}.py", folder / f"{module.rpartition('.')[2]}.py"
    paths[0].write_text("SCALE = 1\n")
    paths[1].write_text(CODE.format(helper=".helper" if request.param == "relative" else helper))
    yield importlib.import_module(module), *paths
    for name in (module, helper, "own"):
        sys.modules.pop(name, None)


KINDS = {
    "function": lambda module: module.make,
    "class": lambda module: module.Net,
    "instance": lambda module: module.Net(),
    "partial": lambda module: partial(module.make, outputs=2),
    "defense": lambda module: Defense(module.make, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_ones_own_code_or_of_what_it_imports_from_beside_it_is_seen(own, kind):
    module, helper, file = own
    thing = KINDS[kind](module)
    hashes = [source_hash(thing)]
    for path in (helper, file):
        path.write_text(path.read_text() + "# changed\n")
        hashes.append(source_hash(thing))
    assert len(set(hashes)) == 3
    assert "" not in hashes


def test_of_a_package_beside_it_all_is_seen_whatever_part_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_aid").mkdir()
    for name in ("__init__", "part"):
        (tmp_path / "own_aid" / f"{name}.py").write_text("SCALE = 1\n")
    (tmp_path / "own_user.py").write_text(CODE.format(helper="own_aid.part"))
    thing = importlib.import_module("own_user").make
    before = source_hash(thing)
    (tmp_path / "own_aid" / "__init__.py").write_text("SCALE = 2\n")
    assert source_hash(thing) != before
    for name in ("own_user", "own_aid", "own_aid.part"):
        sys.modules.pop(name)


def test_what_lies_beside_and_is_not_imported_changes_nothing(own):
    module, helper, file = own
    if not (file.parent / "__init__.py").exists():
        before = source_hash(module.make)
        helper.with_name("another.py").write_text("")
        assert source_hash(module.make) == before


def test_what_has_no_source_has_no_hash():
    assert source_hash(len) == source_hash(3) == ""
