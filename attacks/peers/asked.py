"""What was asked for after the prefix, "EADAttack(steps=100)": read without running it, checked before it is built."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BadInputError


@dataclass(frozen=True)
class Asked:
    """A name and its keyword arguments.

    Args:
        given: all of it, with its library, for messages: "foolbox:EADAttack(steps=100)".
        name: of the attack's class.
        arguments: keyword -> value, as Python literals.
    """

    given: str
    name: str
    arguments: Mapping[str, Any]

    def refuse(self, why: str) -> BadInputError:
        """The error to raise, in one line."""
        return BadInputError(f"--attack {self.given}: {' '.join(why.split())}")


def read(library: str, text: str) -> Asked:
    """The call in `text`.

    Raises:
        BadInputError: it is no name with keyword arguments, or a value is no literal.
    """
    empty = Asked(f"{library}:{text}", "", {})
    expected = f"expected NAME or NAME(keyword=value, ...), such as {library}:Name(steps=100)"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise empty.refuse(f"not an attack and its arguments; {expected}") from None
    if isinstance(node, ast.Name):
        node = ast.Call(node, [], [])
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise empty.refuse(f"not an attack and its arguments; {expected}")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise empty.refuse(f"an argument without a keyword; {expected}")
    return Asked(empty.given, node.func.id, {k.arg: literal(k, empty) for k in node.keywords})


def literal(keyword: ast.keyword, asked: Asked) -> Any:
    """The value of one argument.

    Raises:
        BadInputError: it is no literal.
    """
    try:
        return ast.literal_eval(keyword.value)
    except (ValueError, TypeError):
        value = ast.unparse(keyword.value)
        raise asked.refuse(
            f"{keyword.arg}={value} is no literal; expected a number, string, True, False, None, list or tuple"
        ) from None


def pick(asked: Asked, known: Mapping[str, type]) -> type:
    """The class that is asked for, out of a library's attacks.

    Raises:
        BadInputError: it is none of them.
    """
    if asked.name not in known:
        raise asked.refuse(f"unknown attack; {one_of(asked.name, known)}")
    return known[asked.name]


def check(asked: Asked, accepted: Collection[str]) -> None:
    """Hold the arguments against those that the attack takes.

    Raises:
        BadInputError: it does not take one of them.
    """
    for name in asked.arguments:
        if name not in accepted:
            raise asked.refuse(f"{asked.name} takes no argument {name!r}; {one_of(name, accepted)}")


def one_of(name: str, known: Collection[str]) -> str:
    """ "did you mean 'this'? expected one of this, that"."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}expected one of {', '.join(sorted(known)) or 'no arguments'}"


def parameters(made: type) -> dict[str, Any]:
    """What a class can be built with, keyword -> default; the network it attacks, which comes first, is left out."""
    signature = inspect.signature(made.__init__).parameters.values()
    named = [p for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named if p.name not in ("self", "model", "classifier", "estimator")}
