"""Objects from their names in a configuration: a class by its own name, its arguments as keys of the same table."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from calibrate.errors import CalibrateError, ConfigurationError
from calibrate.operations.config import Configuration, did_you_mean
from calibrate.operations.sources import read_table

if TYPE_CHECKING:
    import pandas as pd

    from calibrate.calibrator import PoolCalibrator

__all__ = ["calibrator", "referenced_files"]

logger = logging.getLogger(__name__)

FAMILY = "family"  # the key that names the class of a part of the model
TABLES = ("an instance of DataFrame", "an instance of Series")
TABLE = "the name of a .csv file"
PREVIOUS = "previous"  # the argument that the run before fills in


@dataclass(frozen=True)
class _Builder:
    """Makes objects of the classes of some modules, those of one `kind`; `key` is what names the class in a table."""

    modules: tuple[ModuleType, ...]
    key: str
    configuration: Configuration
    kind: type = object

    def build(self, table: Any, where: str) -> Any:
        """The object that a name, or a table with `key` and arguments, stands for."""
        if isinstance(table, str):
            table = {self.key: table}
        if not isinstance(table, Mapping):
            raise ConfigurationError(
                f"{where} is {table!r}, expected the name of a class or a table with the key {self.key!r}"
            )
        if self.key not in table:
            raise ConfigurationError(f"{where} needs the key {self.key!r}; one of {', '.join(sorted(self.classes))}")
        name = table[self.key]
        if not isinstance(name, str) or name not in self.classes:
            raise ConfigurationError(f"{where}: there is no {self.key} {name!r}{did_you_mean(str(name), self.classes)}")
        arguments = {
            key: self.value(value, f"{where} {name}, {key}") for key, value in table.items() if key != self.key
        }
        return construct(self.classes[name], arguments, f"{where} {name}")

    def value(self, value: Any, where: str) -> Any:
        """A value of a table: an object by its name or table, a list, the content of a CSV file, or the plain value."""
        if isinstance(value, Mapping):
            if self.key in value:
                return self.build(value, where)
            return {key: self.value(item, f"{where}, {key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, where) for item in value]
        if isinstance(value, str) and value in self.classes:
            return self.build(value, where)
        if isinstance(value, str) and value.endswith(".csv"):
            return read_table(self.configuration.path(value))
        return value

    @property
    def classes(self) -> dict[str, type]:
        """Concrete public classes by name."""
        return {
            name: found
            for module in self.modules
            for name in module.__all__
            if inspect.isclass(found := getattr(module, name))
            and issubclass(found, self.kind)
            and not inspect.isabstract(found)
        }


def construct(kind: type, arguments: Any, where: str) -> Any:
    """`kind(**arguments)`, refusing unknown and missing arguments in words."""
    if not isinstance(arguments, Mapping):
        raise ConfigurationError(f"{where} is {arguments!r}, expected a table of the arguments of {kind.__name__}")
    inner = {one.name for one in fields(kind) if not one.repr} if is_dataclass(kind) else set()  # found by a solve
    parameters = {name: p for name, p in inspect.signature(kind).parameters.items() if name not in inner}
    for key in arguments:
        if key not in parameters:
            raise ConfigurationError(f"{where} has no key {key!r}{did_you_mean(key, parameters)}")
    needed = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty and name not in arguments]
    if needed:
        raise ConfigurationError(f"{where} needs the key(s) {', '.join(needed)}")
    _check_kinds(kind, arguments, where)
    try:
        return kind(**arguments)
    except (CalibrateError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{where}: {str(error).removeprefix(f'{kind.__name__}: ')}") from None


def _check_kinds(kind: type, arguments: Mapping[str, Any], where: str) -> None:
    """Refuse a text where a number or an object belongs, by the annotations of the constructor if they can be read."""
    try:
        parameters = inspect.signature(kind, eval_str=True).parameters
    except (NameError, TypeError):  # an annotation for the type checker only
        return
    for key, value in arguments.items():
        try:
            accepted: TypeAdapter[Any] = TypeAdapter(
                parameters[key].annotation, config=ConfigDict(arbitrary_types_allowed=True)
            )
            accepted.validate_python(value, strict=True)
        except PydanticSchemaGenerationError:  # a protocol, such as ArrayLike
            continue
        except ValidationError as error:
            faults = (fault["msg"].removeprefix("Input should be ") for fault in error.errors())
            expected = " or ".join(dict.fromkeys(TABLE if fault in TABLES else fault for fault in faults))
            raise ConfigurationError(f"{where}, {key} = {value!r}: expected {expected}") from None


def calibrator(configuration: Configuration, previous: pd.Series[float] | None) -> PoolCalibrator:
    """The calibrator that a configuration describes; `previous` contributions are the base of `Turnover`.

    Raises ConfigurationError naming section, class and key.
    """
    from calibrate.calibrator import PoolCalibrator

    program, run = configuration.program, configuration.run
    program_module = import_module("calibrate.program")
    layers = _Builder((program_module,), "layer", configuration, program_module.Layer)
    arguments: dict[str, Any] = {
        "n_scenarios": run.n_scenarios,
        "n_out_of_sample": run.n_out_of_sample,
        "periods": run.periods,
        "random_state": run.seed,
    }
    if configuration.model:
        arguments["model"] = _model(configuration)
    if program.waterfall is not None:
        waterfall = tuple(layers.build(layer, "[program] waterfall") for layer in program.waterfall)
        arguments["waterfall"] = construct(program_module.Waterfall, {"layers": waterfall}, "[program] waterfall")
    if program.minimise is not None:
        terms = enumerate(program.minimise, 1)
        arguments["minimise"] = [_priced(configuration, term, f"[[program.minimise]] {n}") for n, term in terms]
    if configuration.rules is not None:
        rules = (
            _rule(configuration, table, f"[[rules]] {n}", previous) for n, table in enumerate(configuration.rules, 1)
        )
        arguments["subject_to"] = [rule for rule in rules if rule is not None]
    return PoolCalibrator(**arguments)


def referenced_files(configuration: Configuration) -> dict[str, Path]:
    """CSV files that the model, the program and the rules name: part of what decides the result."""

    def texts(value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [text for item in value.values() for text in texts(item)]
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [text for item in value for text in texts(item)]
        return [value] if isinstance(value, str) and value.endswith(".csv") else []

    settings = configuration.settings
    named = texts([settings["model"], settings["program"], settings["rules"]])
    return {text: configuration.path(text) for text in sorted(set(named))}


def _model(configuration: Configuration) -> Any:
    """`[model]` holds the arguments of JointLossModel; a part is a class of the submodule of the same name."""
    models = import_module("calibrate.models")
    arguments = {}
    for part, table in configuration.model.items():
        room = getattr(models, part, None)
        where = f"[model] {part}"
        if not isinstance(room, ModuleType):
            arguments[part] = table
        elif part == "coverage":
            arguments[part] = construct(models.Coverage, table, where)
        else:
            arguments[part] = _part(_Builder((room,), FAMILY, configuration), table, where)
    return construct(models.JointLossModel, arguments, "[model]")


def _part(builder: _Builder, table: Any, where: str) -> Any:
    """A family, or one for each segment."""
    if isinstance(table, str) or not isinstance(table, Mapping) or FAMILY in table:
        return builder.build(table, where)
    for segment in table:
        if get_close_matches(segment, [FAMILY], cutoff=0.8):
            raise ConfigurationError(f"{where} has the key {segment!r}; did you mean {FAMILY!r}?")
    return {segment: builder.build(family, f"{where}, segment {segment!r}") for segment, family in table.items()}


def _term(configuration: Configuration, table: Mapping[str, Any], where: str) -> Any:
    program = import_module("calibrate.program")
    return _Builder((program,), "term", configuration, program.Term).build(table, where)


def _priced(configuration: Configuration, table: Mapping[str, Any], where: str) -> Any:
    """`price * term`; the price is 1 if not given."""
    term = _term(configuration, {key: value for key, value in table.items() if key != "price"}, where)
    try:
        return table.get("price", 1.0) * term
    except (CalibrateError, TypeError) as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _rule(configuration: Configuration, table: Mapping[str, Any], where: str, previous: pd.Series[float] | None) -> Any:
    """A fairness rule, or `term <= at_most`. None for a rule about the previous plan when there is none."""
    if "term" in table:
        limit = {key: value for key, value in table.items() if key != "at_most"}
        if "at_most" not in table:
            raise ConfigurationError(f"{where}: a limit on a term needs the key 'at_most', an amount of money")
        try:
            return _term(configuration, limit, where) <= table["at_most"]
        except (CalibrateError, TypeError) as error:
            raise ConfigurationError(f"{where}: {error}") from None
    fairness = import_module("calibrate.fairness")
    builder = _Builder((fairness,), "rule", configuration, fairness.Rule)
    kind = builder.classes.get(str(table.get("rule")))
    if kind is not None and PREVIOUS in inspect.signature(kind).parameters and PREVIOUS not in table:
        if previous is None:
            nobody = import_module("pandas").Series({"nobody": 1.0})
            builder.build({**table, PREVIOUS: nobody}, where)  # what is wrong with it is said now, not in a month
            logger.info("%s %s has no run before it and waits for the next one", where, table["rule"])
            return None
        return builder.build({**table, PREVIOUS: previous}, where)
    return builder.build(table, where)
