import json
import resource

import pytest
import torch

from bench.errors import BadInputError, NonFiniteError
from bench.store import Store, StoreError, from_json, to_json, write_atomic


def test_tensors_come_back_as_they_were(tmp_path):
    store = Store(tmp_path)
    store.save_tensors("a/b.safetensors", {"x": torch.arange(6).view(2, 3), "y": torch.rand(4).bool()})
    back = store.load_tensors("a/b.safetensors")
    assert torch.equal(back["x"], torch.arange(6).view(2, 3))
    assert back["y"].dtype == torch.bool
    assert set(store.hashes()) == {"a/b.safetensors"}


def test_one_tensor_under_two_names_is_stored_twice(tmp_path):
    tied = torch.rand(3)
    store = Store(tmp_path)
    store.save_tensors("x.safetensors", {"a": tied, "b": tied})
    assert torch.equal(store.load_tensors("x.safetensors")["b"], tied)


def test_a_flipped_byte_is_refused_by_name(tmp_path):
    store = Store(tmp_path)
    store.save_tensors("x.safetensors", {"x": torch.zeros(100)})
    path = store.path("x.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    for read in (lambda: store.load_tensors("x.safetensors"), store.hashes):
        with pytest.raises(StoreError, match=r"x\.safetensors.*SHA-256"):
            read()


def test_a_tensor_without_its_hash_does_not_count_as_stored(tmp_path):
    store = Store(tmp_path)
    store.save_tensors("x.safetensors", {"x": torch.zeros(2)})
    assert store.has("x.safetensors")
    store.path("x.safetensors.sha256").unlink()
    assert not store.has("x.safetensors")


def test_what_is_not_finite_is_refused_on_write_and_on_read(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(NonFiniteError):
        store.save_tensors("x.safetensors", {"x": torch.tensor([float("inf")])})
    with pytest.raises(NonFiniteError):
        to_json({"x": float("nan")})
    with pytest.raises(ValueError, match="NaN"):
        from_json(b'{"x": NaN}')
    store.path("bad.json").write_text("[Infinity]")
    with pytest.raises(StoreError, match=r"bad\.json"):
        store.load_json("bad.json")


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_by_the_file_and_what_it_needs(tmp_path):
    store, limits = Store(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    store.save_tensors("x.safetensors", {"x": torch.ones(2)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"y\.safetensors: .*make room for 400,0\d\d bytes there"):
            store.save_tensors("y.safetensors", {"y": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors", "x.safetensors.sha256"]


def test_a_held_folder_is_refused_and_free_again_after(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    with first.hold(), pytest.raises(BadInputError, match="another run holds it"), second.hold():
        pass
    with second.hold():
        pass


def test_work_may_nest(tmp_path):
    store = Store(tmp_path)
    with store.working("a.json"), store.working("a.json"), store.working("b/c.json"):
        store.save_json("a.json", {"a": 1})
    assert json.loads(store.path("a.json").read_text()) == {"a": 1}


def test_one_process_makes_a_file_and_others_may_make_other_ones(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)  # each has locks of its own, as two processes have
    with first.working("a/b.json"):
        assert second.busy("a/b.json")
        assert not first.busy("a/b.json")
        with second.working("a/c.json"):
            assert first.busy("a/c.json")
    assert not second.busy("a/b.json")
    with second.working("a/b.json"):
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="--run-root"):
        Store(tmp_path / "file" / "run")


def test_clear_keeps_what_it_is_told_to(tmp_path):
    store = Store(tmp_path)
    store.save_json("keep.json", 1)
    store.save_json("a/b.json", 1)
    store.clear(keep=("keep.json",))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == ["keep.json"]
    assert not store.path("a").exists()
