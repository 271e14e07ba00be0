"""One registry for everything that has a name: lazy, loud on collisions, helpful on a miss."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from bench.errors import BadInputError


class Registry:
    """Names -> things, given as objects, as "module:attr", or through an entry-point group.

    Args:
        kind: what is registered, for messages: "attack".
        option: the command-line option that picks it: "--attack".
        families: prefix -> "module:attr" of a function that makes the thing from what follows the prefix:
            "foolbox:EADAttack" is found by the function for "foolbox", given "EADAttack".
    """

    def __init__(self, kind: str, option: str, families: Mapping[str, str] | None = None, **entries: Any):
        self.kind = kind
        self.option = option
        self.families = dict(families or {})
        self._entries: dict[str, Any] = dict(entries)
        self.minimisers: set[str] = set()  # attacks that look for the fewest pixels
        self.judged: set[str] = set()  # attacks that are given the measuring judge
        self.started: dict[str, str] = {}  # attacks that are given images to start from, and which
        self._group = f"distal.{kind.replace(' ', '_')}s"

    def register(self, name: str, entry: Any) -> None:
        """Add a name.

        Raises:
            BadInputError: something else has that name.
        """
        if self._entries.get(name, entry) != entry:
            raise BadInputError(f"two things are called {self.kind} {name!r}; expected one: rename one of them")
        self._entries[name] = entry

    def names(self) -> list[str]:
        return sorted({*self._entries, *(e.name for e in entry_points(group=self._group))})

    def load(self, name: str) -> Any:
        """The thing itself: a registered name, an entry point, or a user's "module:attr".

        Raises:
            BadInputError: nobody has that name, or it can't be imported.
        """
        entry = self._entries.get(name)
        family, _, rest = name.partition(":")
        if entry is None and family in self.families:
            try:
                return import_path(self.families[family], self.option)(rest)
            except BadInputError as error:  # of a part, which is told by all that was given
                raise BadInputError(str(error).replace(f"{self.option} {rest}:", f"{self.option} {name}:", 1)) from None
        if entry is None:
            found = [e for e in entry_points(group=self._group) if e.name == name]
            if len({e.value for e in found}) > 1:
                raise BadInputError(f"{len(found)} packages call a {self.kind} {name!r}; uninstall one of them")
            entry = found[0].value if found else name
        if not isinstance(entry, str):
            return entry
        if ":" not in entry:
            raise BadInputError(self._miss(name))
        return import_path(entry, self.option)

    def _miss(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        known = ", ".join([*self.names(), *(f"{family}:..." for family in self.families)])
        return f"{self.option} {name}: unknown {self.kind}; {hint}expected one of {known}, or module:attr"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def import_path(path: str, option: str) -> Any:
    """What "module:attr" names.

    Raises:
        BadInputError: it can't be imported; `option` says where it was asked for.
    """
    module, _, attribute = path.partition(":")
    try:
        thing = importlib.import_module(module)
        for part in attribute.split("."):
            thing = getattr(thing, part)
    except Exception as error:  # a user's module may raise anything
        what = first_line(error)
        raise BadInputError(f"{option} {path}: {what}; expected module:attr that can be imported from here") from None
    return thing


def first_line(error: Exception) -> str:
    """What a user's code raised, in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


# The process that stands for training's where there was none, and that tests the judge.
REFERENCE_ATTACK = "attacks.l1_sparse:l1_sparse"

# What thins a confident image pixel by pixel while p holds.
PRUNE = "attacks.prune:prune"

# What an attack may be given to start from: (session, place, targets, restarts) -> images.
STARTS = {"survivors": "bench.harness.starts:survivors", "real": "bench.harness.starts:real_images"}

DEFENSES = Registry(
    "defense",
    "--defense",
    acet="defenses.acet:acet",
    fakeclass="defenses.fakeclass:fakeclass",
    fakeclass_bare="defenses.fakeclass_bare:fakeclass_bare",
    fakeclass_gated="defenses.fakeclass_gated:fakeclass_gated",
    fakeclass_single="defenses.fakeclass_single:fakeclass_single",
    fresh="defenses.fresh:fresh",
    max_entropy="defenses.max_entropy:max_entropy",
    outlier_exposure="defenses.outlier_exposure:outlier_exposure",
    pgd_at="defenses.pgd_at:pgd_at",
    sparse_gate="defenses.sparse_gate:sparse_gate",
    undefended="defenses.undefended:undefended",
)
NETWORKS = Registry(
    "network",
    "--network",
    families={"familiar": "defenses.familiar:familiar_network", "gated": "defenses.gate:gated_network"},
    mlp="bench.materials.networks:mlp",
    cnn="bench.materials.networks:cnn",
    wide="bench.materials.networks:wide",
    resnet18="bench.materials.resnet:resnet18",
)
ATTACKS = Registry(
    "attack",
    "--attack",
    families={
        "foolbox": "attacks.peers:foolbox",
        "art": "attacks.peers:art",
        "torchattacks": "attacks.peers:torchattacks",
    },
)
