"""`python -m reports`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.record import RULES
from reports.__main__ import main
from tests.reports import sample


def test_build(tmp_path, capsys):
    sample.write(tmp_path / "runs" / "one")
    out = tmp_path / "site"
    assert main(["build", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}/index.html: 1 of 1 certificates\n"
    assert (out / "index.html").is_file()


def test_defaults_are_runs_and_its_site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample.write(tmp_path / "runs" / "one")
    assert main(["build"]) == 0
    assert (tmp_path / "runs" / "site" / "index.html").is_file()


def test_what_is_not_readable_is_named_and_the_rest_built(tmp_path, capsys):
    sample.write(tmp_path / "runs" / "one")
    data = sample.document(tmp_path / "runs" / "two") | {"new\n\x1b[31mfield": 1}
    bad = sample.write_document(tmp_path / "runs" / "two", data)
    assert main(["build", str(tmp_path / "runs"), "--out", str(tmp_path / "site")]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("1 of 2 certificates\n")
    assert captured.err.startswith(f"not readable: {bad}: new \ufffd[31mfield: ")
    assert captured.err.count("\n") == 1
    assert "\x1b" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["build", "absent"], "absent: no such file or folder"),
        (["build", "empty"], "empty: no certificate.json in it"),
        (["build", "full", "--out", "file"], "file"),
        (["show", "absent"], "absent: No such file"),
        (["show", "empty"], "certificate.json: No such file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    sample.write(tmp_path / "full")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("python -m reports: error: ")
    assert expected in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["bild"], ["build", "--where"], ["show"]])
def test_usage_is_exit_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m reports" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["build", "show", "verify"])
def test_help_explains_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"python -m reports {command}" in text
    assert "example:" in text
    assert "exit status:" in text


def test_show(tmp_path, capsys):
    path = sample.write(tmp_path / "one", verdicts="ppppppppfpp")
    assert main(["show", str(path)]) == 0
    from_file = capsys.readouterr().out
    assert main(["show", str(path.parent)]) == 0
    assert capsys.readouterr().out == from_file
    assert from_file.startswith("fakeclass on digits: not certified, scope process\n")
    assert "8 final network, fail: " in from_file
    assert len(from_file.splitlines()) > 13


def test_show_says_by_which_rules(tmp_path, capsys):
    data = sample.document(tmp_path / "one") | {"rules": RULES - 1}
    assert main(["show", str(sample.write_document(tmp_path / "one", data))]) == 0
    assert capsys.readouterr().out.startswith("fakeclass on digits: certified by earlier rules, scope process\n")


def test_torch_is_not_imported(tmp_path):
    sample.write(tmp_path / "runs" / "one")
    program = (
        "import sys; from reports.__main__ import main; "
        "assert main(['build', sys.argv[1], '--out', sys.argv[2]]) == 0; "
        "assert main(['show', sys.argv[1] + '/one']) == 0; "
        "print(sorted({'torch', 'numpy', 'sklearn', 'PIL'} & sys.modules.keys()))"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "runs"), str(tmp_path / "site")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
