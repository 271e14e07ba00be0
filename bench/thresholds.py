"""What each criterion allows, from `suites/thresholds.toml` and a user's file over it. No torch here."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BadInputError

THRESHOLDS = Path(__file__).parents[1] / "suites" / "thresholds.toml"
Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class RealThresholds(BaseModel):
    """What criteria 9 and 10 allow."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    accuracy: Rate
    confident_accuracy: Rate


class Thresholds(BaseModel):
    """What every criterion allows, for one data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    rates: dict[Annotated[int, Field(ge=0, le=8)], Rate]
    real: RealThresholds

    def looser_than(self, other: Thresholds) -> list[int]:
        """Ids of the criteria that allow more here than there."""
        ids = [i for i in range(8) if self.rates[i] < other.rates[i]]
        ids += [8] if self.rates[8] > other.rates[8] else []
        if any(getattr(self.real, f) < getattr(other.real, f) for f in RealThresholds.model_fields):
            ids += [9, 10]
        return ids


def load_thresholds(dataset: str, override: Path | None = None) -> Thresholds:
    """Thresholds for one data set.

    Args:
        dataset: picks `[real.<dataset>]`, else `[real.default]`.
        override: a user's file in the form of the project's own; only what it names is replaced.

    Raises:
        BadInputError: a file that is missing, no TOML, or names what does not exist.
    """
    table, name = _read(THRESHOLDS), dataset.split(":", 1)[0]
    if override is not None:
        for section, values in _read(override).items():
            if section not in table or not isinstance(values, dict):
                raise BadInputError(f"{override}: unknown section [{section}]; expected [rates] or [real.<data set>]")
            if section == "real":
                _check_names(override, values, name, table["real"])
            _merge(table[section], values)
    real = table["real"]["default"] | table["real"].get(name, {})
    try:
        return Thresholds(rates=table["rates"], real=real)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"][-1:] == ("[key]",):
            raise BadInputError(
                f"{override or THRESHOLDS}: [rates] has {first['loc'][-2]}; expected criteria 0 to 8, and for 9 and 10 "
                f"[real.{name}]"
            ) from None
        where = ".".join(str(part) for part in first["loc"])
        raise BadInputError(f"{override or THRESHOLDS}: {where}: {first['msg']}; expected a rate in [0, 1]") from None


def _check_names(path: Path, given: dict, dataset: str, known: dict) -> None:
    """A section under a name that nothing reads would be silently without effect."""
    if unknown := [name for name in given if name not in (dataset, *known)]:
        close = difflib.get_close_matches(unknown[0], [dataset, *known], n=1)
        hint = f"did you mean [real.{close[0]}]? " if close else ""
        raise BadInputError(
            f"{path}: unknown section [real.{unknown[0]}]; {hint}expected [real.{dataset}] for this data set, or "
            "[real.default]"
        )


def _merge(into: dict, values: dict) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def _read(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; expected a thresholds file (TOML)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: {error}; expected TOML like suites/thresholds.toml") from None
