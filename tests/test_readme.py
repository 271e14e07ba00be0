"""The examples of README.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness import runs

EXAMPLES = re.compile(r"```python\n# (my_\w+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A quick run of the attack, the defense and the network of the examples."""
    folder = tmp_path_factory.mktemp("readme")
    for name, code in EXAMPLES.findall((runs.ROOT / "README.md").read_text()):
        (folder / name).write_text(code)
    words = ("-p", "my_attacks", "--attack=my_attack", "--attack=l1_sparse")
    own = ("--defense=my_defense:noisy", "--network=my_net:build", "--budget=quick")
    root = folder / "runs"
    status, output = runs.run(f"--run-root={root}", *words, *own, cwd=folder, path=folder)
    return runs.Done(status, output, root)


def test_the_examples_run(done):
    certificate = done.certificate
    assert (certificate.defense, certificate.network) == ("my_defense:noisy", "my_net:build")
    own = next(row for row in certificate.criteria[0].per_attack if row.attack == "my_attack")
    assert own.ratio.successes > own.ratio.n / 2
    assert certificate.criteria[10].observed > 0.5


def test_every_page_that_is_linked_is_there():
    pages = [runs.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "DESIGN.md", "reports/results/README.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / Path(target)).exists(), f"{page.name}: {target}"
