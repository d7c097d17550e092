"""The configuration file: TOML, checked key by key, before anything is read or computed."""

from __future__ import annotations

import datetime
import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from calibrate.errors import ConfigurationError

__all__ = ["Configuration", "Data", "ExposureFile", "Program", "Run", "Schedule", "Uncertainty", "did_you_mean", "load"]

Table = dict[str, Any]
Day = datetime.date | str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExposureFile(_Section):
    """A long file of exposures: one row for each date and member."""

    file: str
    date: str = "date"
    member: str = "member"
    exposure: str = "exposure"


class Data(_Section):
    """`[data]`: one of `dataset` (a name), `events` (a file, a row a loss) or `panel` (a file, a row a period).

    A panel is wide (first column the period, then a column for each member) unless `member` and `loss` name columns of
    a long one. `exposures` of events is a wide file, or a table that names the columns of a long one; `exposure` is a
    column of a long panel. `period`, `start`, `end` and `at_least` (a column) are about events. `prices` and
    `exposure_prices` are files of a price index by period: losses, and exposures that are money, are brought to the
    money of the last entry.
    """

    dataset: str | None = None
    events: str | None = None
    panel: str | None = None
    date: str | None = None
    member: str | None = None
    loss: str | None = None
    segment: str | None = None
    at_least: str | None = None
    exposure: str | None = None
    exposures: str | ExposureFile | None = None
    period: Literal["D", "W", "M", "Q", "Y"] = "M"
    currency: str = "USD"
    start: Day | None = None
    end: Day | None = None
    confirm_unit_jumps: list[str] = Field(default_factory=list)
    prices: str | None = None
    exposure_prices: str | None = None


class Program(_Section):
    """`[program]`: layers of the waterfall in the order in which they pay; `[[program.minimise]]` terms with prices."""

    waterfall: list[str | Table] | None = None
    minimise: list[Table] | None = None


class Run(_Section):
    """`[run]`: size, seed, and the folder of the runs (default `runs/<name of the configuration>`)."""

    n_scenarios: Annotated[int, Field(ge=1)] = 20_000
    n_out_of_sample: Annotated[int, Field(ge=1)] = 100_000
    periods: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    folder: str | None = None


class Uncertainty(_Section):
    """`[uncertainty]`: run the whole chain again, on `replications` resampled histories and with `seeds` seeds.

    `block` neighbouring periods are drawn together (left out: as few as the model allows); the plan is held against the
    best one on `batches` fresh sets of scenarios. Minutes, so it is left out unless asked for.
    """

    replications: Annotated[int, Field(ge=2)] = 100
    seeds: Annotated[int, Field(ge=2)] = 10
    block: Annotated[int, Field(ge=1)] | None = None
    batches: Annotated[int, Field(ge=2)] = 10


class Schedule(_Section):
    """`[schedule]`: a recalibration is due once in every day, week, month, quarter or year of the calendar (UTC)."""

    every: Literal["day", "week", "month", "quarter", "year"]


class _File(_Section):
    data: Data
    model: Table = Field(default_factory=dict)
    program: Program = Field(default_factory=Program)
    rules: list[Table] | None = None
    run: Run = Field(default_factory=Run)
    uncertainty: Uncertainty | None = None
    schedule: Schedule | None = None


class Configuration(_File):
    """A checked configuration, its `name`, and the folders that its paths (`home`) and its runs start from."""

    name: str
    home: Path
    runs_home: Path

    def path(self, text: str) -> Path:
        """A path of the configuration, relative to the folder that it stands in."""
        return _path(self.home, text)

    @property
    def runs(self) -> Path:
        """The folder of the runs."""
        return _path(self.runs_home, self.run.folder or f"runs/{self.name}")

    def resampling(self, replications: int) -> Configuration:
        """The same configuration with another number of resampled histories; 0 leaves them out, 1 says nothing."""
        if not replications:
            return self.model_copy(update={"uncertainty": None})
        if replications < 2:
            raise ConfigurationError(f"{replications} resampled history has no spread; expected 0 or at least 2")
        asked = Uncertainty() if self.uncertainty is None else self.uncertainty
        return self.model_copy(update={"uncertainty": asked.model_copy(update={"replications": replications})})

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result, as plain data: everything but the folder of the runs and the schedule."""
        return self.model_dump(
            mode="json", exclude={"name": True, "home": True, "runs_home": True, "schedule": True, "run": {"folder"}}
        )


def load(path: Path, runs_home: Path | None = None) -> Configuration:
    """Read and check a configuration file. Paths start from its folder; those of runs from `runs_home`, if given.

    Raises
    ------
    ConfigurationError
        naming every wrong key, its value, what was expected, and the nearest known key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # with a byte-order mark or without
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as a text file (UTF-8): {error}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    try:
        checked = _File.model_validate(table)
    except ValidationError as error:
        faults = [_sentence(fault) for fault in _without_shadows(error.errors())]
        raise ConfigurationError(_joined(path, faults)) from None
    faults = _data_faults(checked.data)
    if faults:
        raise ConfigurationError(_joined(path, faults))
    home = path.parent.resolve()
    return Configuration(**dict(checked), name=path.stem, home=home, runs_home=runs_home or home)


def _path(home: Path, text: str) -> Path:
    try:
        return (home / Path(text).expanduser()).resolve()
    except (ValueError, RuntimeError) as error:  # a character that no name can have; a home of nobody
        raise ConfigurationError(f"{text!r} is no path: {error}") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A nearest known word as a half sentence, and all that are known.

    >>> did_you_mean("sed", ["seed", "folder"])
    "; did you mean 'seed'? (known: folder, seed)"
    """
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    return f"{hint} (known: {', '.join(names)})"


def _joined(path: Path, faults: Sequence[str]) -> str:
    return f"{path}: {faults[0]}" if len(faults) == 1 else f"{path}:" + "".join(f"\n  - {fault}" for fault in faults)


def _without_shadows(faults: Iterable[Any]) -> list[Any]:
    """A union of types reports a fault once for each type: keep the first of a place."""
    kept: dict[tuple[Any, ...], Any] = {}
    for fault in faults:
        place = tuple(step for step in fault["loc"] if step not in _UNION_STEPS)
        kept.setdefault(place, {**fault, "loc": place})
    return list(kept.values())


_UNION_STEPS = {"str", "date", "ExposureFile", "dict[str,any]"}


def _sentence(fault: Mapping[str, Any]) -> str:
    *place, key = fault["loc"]
    where = _where(place)
    if fault["type"] == "extra_forbidden":
        return f"{where} has no key {key!r}{did_you_mean(str(key), _keys_at(place))}"
    if fault["type"] == "missing":
        what = f"[{key}] is missing" if not place else f"{where} needs the key {key!r}, which is missing"
        return f"{what}; {_EXPECTED.get(str(key), 'add it')}"
    message = str(fault["msg"]).removeprefix("Input should be ").replace("a valid dictionary", "a table")
    return f"{where} {key} = {fault['input']!r}, expected {message}"


_EXPECTED = {
    "data": 'expected a section such as\n\n[data]\nevents = "losses.csv"\n',
    "every": 'such as every = "month"',
}


def _where(place: Sequence[Any]) -> str:
    text = ".".join(str(step) for step in place if isinstance(step, str))
    number = next((f" number {step + 1}" for step in place if isinstance(step, int)), "")
    return f"[{text}]{number}" if text else "the file"


def _keys_at(place: Sequence[Any]) -> list[str]:
    sections: dict[tuple[Any, ...], type[BaseModel]] = {
        (): _File, ("data",): Data, ("data", "exposures"): ExposureFile, ("program",): Program, ("run",): Run,
        ("uncertainty",): Uncertainty, ("schedule",): Schedule,
    }  # fmt: skip
    return list(sections[tuple(place)].model_fields)


def _data_faults(data: Data) -> list[str]:
    """What is wrong with the section as a whole."""
    given = {key for key in Data.model_fields if key in data.model_fields_set}
    sources = [key for key in ("dataset", "events", "panel") if key in given]
    if len(sources) != 1:
        found = " and ".join(sources) or "none"
        return [f"[data] needs exactly one of 'dataset', 'events' and 'panel', found {found}"]
    long_panel = {"date", "member", "loss", "segment", "exposure"} & given
    useless = {
        "dataset": given - {"dataset", "prices", "exposure_prices"},
        "events": given & {"exposure"},
        "panel": given & {"period", "start", "end", "at_least"} | (given & {"exposures"} if long_panel else set()),
    }[sources[0]]
    faults = [f"[data] {key} has no meaning together with {sources[0]!r}; leave it out" for key in sorted(useless)]
    if sources[0] == "panel" and long_panel and not {"date", "member", "loss"} <= given:
        lacking = ", ".join(sorted({"date", "member", "loss"} - given))
        faults.append(f"[data] a long panel needs the columns of date, member and loss; missing: {lacking}")
    if data.prices is None and data.exposure_prices is not None:
        faults.append("[data] exposure_prices needs prices: losses are money too; give the index of theirs")
    return faults
