"""How a calibration lies on disk: one JSON and a few CSV files, readable in a diff, sealed by their hashes."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd

from calibrate.certificate.scenario_file import NAME, ScenarioFile, StoredScenarios
from calibrate.errors import IntegrityError

if TYPE_CHECKING:
    from calibrate.calibration import Calibration

__all__ = [
    "CERTIFICATE",
    "MAIN",
    "SEAL",
    "certificate_text",
    "digest",
    "documents",
    "parse",
    "read",
    "scenarios_of",
    "write",
]

SCHEMA = 1
MAIN = "calibration.json"
CERTIFICATE = "certificate.json"
SEAL = "SHA256SUMS"
TABLES = ("contributions", "reserves", "risk", "fairness", "members", "loss_curve")
OPTIONAL = ("uncertainty",)  # tables that a calibration may have
NUMBERED = ("loss_curve",)  # its index holds probabilities; all others hold names
SERIES = {"contributions": "contribution", "reserves": "amount"}
COLUMNS = {  # that each table has at least
    **{name: (column,) for name, column in SERIES.items()},
    "risk": ("in_sample", "out_of_sample", "standard_error", "lower", "upper"),
    "fairness": ("gap", "binding", "shadow_price"),
    "members": ("contribution", "weight", "expected_loss", "standalone_risk", "exposure", "reference"),
    "loss_curve": ("loss",),
    "uncertainty": ("estimate", "history_error", "lower", "upper", "monte_carlo_error"),
}
MEND = "restore it from a backup or calibrate again"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")  # a spreadsheet would run these; "'" keeps the escape reversible


def documents(calibration: Calibration) -> dict[str, str]:
    """Texts of the files, by name. Equal calibrations have equal texts.

    The result holds the hash of the certificate, the certificate holds those of the other files and of the scenarios.
    """
    tables = (*TABLES, *(name for name in OPTIONAL if getattr(calibration, name) is not None))
    texts = {f"{name}.csv": _to_csv(getattr(calibration, name)) for name in tables}
    body = {
        "schema": SCHEMA,
        "currency": calibration.currency,
        "objective": calibration.objective,
        "lower_bound": calibration.lower_bound,
        "index_levels": {name: getattr(calibration, name).index.nlevels for name in tables},
        "provenance": _plain(calibration.provenance),
    }
    certificate = None if calibration.certificate is None else _plain(calibration.certificate)
    if certificate is not None:
        body["certificate"] = _sha256(json.dumps(certificate, sort_keys=True))
    texts[MAIN] = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    if certificate is not None:
        texts[CERTIFICATE] = certificate_text(certificate, {name: _sha256(text) for name, text in texts.items()})
    return texts


def certificate_text(certificate: Mapping[str, Any], hashes: Mapping[str, str]) -> str:
    """A certificate with the hashes of the files that it belongs to."""
    scenarios = {NAME: certificate["scenarios"]} if "scenarios" in certificate else {}
    return json.dumps({**_plain(certificate), "files": {**hashes, **scenarios}}, ensure_ascii=False) + "\n"


def digest(texts: Mapping[str, str], scenarios: ScenarioFile | None = None) -> str:
    """The seal: a line `sha256  name` for each file, as `sha256sum -c` reads it."""
    hashes = {name: _sha256(text) for name, text in texts.items()}
    if scenarios is not None:
        hashes[NAME] = scenarios.sha256
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parse(texts: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a Calibration from the texts of its files. Raises IntegrityError for what does not read as one."""
    with _reading(MAIN):
        body = json.loads(texts[MAIN])
        if body["schema"] != SCHEMA:
            raise IntegrityError(f"{MAIN}: schema is {body['schema']!r}, this version reads schema {SCHEMA}")
        values: dict[str, Any] = {
            "currency": body["currency"],
            "objective": float(body["objective"]),
            "lower_bound": float(body["lower_bound"]),
            "provenance": dict(body["provenance"]),
        }
        for name in ("objective", "lower_bound"):
            if not math.isfinite(values[name]):
                raise IntegrityError(f"{MAIN}: {name} is {values[name]}, expected a finite number; {MEND}")
        stated = body["index_levels"]
        levels = {name: int(stated[name]) for name in (*TABLES, *(name for name in OPTIONAL if name in stated))}
    for name in levels:
        with _reading(f"{name}.csv"):
            table = _from_csv(texts[f"{name}.csv"], levels[name], name in NUMBERED)
            _check(name, table)
            values[name] = table[SERIES[name]] if name in SERIES else table
            if name == "fairness":
                table["binding"] = table["binding"].astype(bool)
    paying = list(dict.fromkeys(values["contributions"].index.get_level_values(0)))
    if paying != list(values["members"].index):
        raise IntegrityError(f"contributions.csv and members.csv do not name the same members; {MEND}")
    if CERTIFICATE not in texts:
        return values
    with _reading(CERTIFICATE):
        certificate = json.loads(texts[CERTIFICATE])
        del certificate["files"]
        return values | {"certificate": certificate}


def _check(name: str, table: pd.DataFrame) -> None:
    """A table has its columns; no number is infinite, and of what is paid none is missing or negative."""
    absent = [column for column in COLUMNS[name] if column not in table]
    if absent:
        raise IntegrityError(f"{name}.csv has no column {absent[0]!r}, only {[*map(str, table.columns)]}; {MEND}")
    expected = "a finite number >= 0" if name in SERIES else "a finite number"
    for column in table:
        numbers = table[column].to_numpy(dtype=float)
        wrong = ~(numbers >= 0) | np.isinf(numbers) if name in SERIES else np.isinf(numbers)
        if wrong.any():
            k = int(np.argmax(wrong))
            found = f"{column} of {table.index[k]!r} is {numbers[k]}"
            raise IntegrityError(f"{name}.csv: {found}, expected {expected}; {MEND}")


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Whatever a parser stumbles over becomes a sentence about the file."""
    try:
        yield
    except IntegrityError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{name} does not read as part of a calibration ({error!r}); {MEND}") from None


def write(path: Path, texts: Mapping[str, str], scenarios: ScenarioFile | None = None) -> Path:
    """Write all files to the side, then rename the folder: a reader sees the whole or nothing."""
    if path.exists() and not (path / SEAL).is_file():
        raise IntegrityError(f"{path} exists and is not a saved calibration; name another path or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    side, old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)), None
    try:
        for name, text in {**texts, SEAL: digest(texts, scenarios)}.items():
            with _lasting(side / name) as file:
                file.write(text.encode())
        if scenarios is not None:
            with _lasting(side / NAME) as file:
                scenarios.write(file)
        side.chmod(0o755)  # mkdtemp makes it private; a saved run is for the pool's colleagues
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.replace(old)
            try:
                side.replace(path)
            except BaseException:
                old.replace(path)
                raise
            shutil.rmtree(old)
        else:
            side.replace(path)
    except BaseException:  # an interrupt while the last one is cleared away leaves nothing of it
        for left in [side] if old is None or not path.exists() else [side, old]:
            shutil.rmtree(left, ignore_errors=True)
        raise
    return path


@contextlib.contextmanager
def _lasting(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk when it is left."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def scenarios_of(path: Path, certificate: Mapping[str, Any] | None) -> StoredScenarios | None:
    """The scenarios that lie beside a saved certificate."""
    sha256 = None if certificate is None else certificate.get("scenarios")
    return None if sha256 is None else StoredScenarios(path / NAME, str(sha256))


def read(path: Path) -> dict[str, str]:
    """Texts of the files of a saved calibration, after checking them, and the scenarios, against the seal."""
    seal = path / SEAL
    if not seal.is_file():
        raise IntegrityError(f"{path} is not a saved calibration: {SEAL} is missing; pass the folder that `save` wrote")
    try:
        lines = [line.split("  ", 1) for line in seal.read_text(encoding="utf-8").splitlines()]
        sealed = {name: expected for expected, name in lines}
    except (ValueError, UnicodeDecodeError):
        raise IntegrityError(f"{seal} is damaged; {MEND}") from None
    missing = sorted({MAIN, *(f"{name}.csv" for name in TABLES)} - set(sealed))
    if missing:
        raise IntegrityError(f"{seal} does not list {', '.join(missing)}; restore the folder or calibrate again")
    texts = {}
    for name, expected in sealed.items():
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise IntegrityError(f"{file} is missing; {MEND}")
        with file.open("rb") as content:
            actual = hashlib.file_digest(content, "sha256").hexdigest()
        if actual != expected:
            raise IntegrityError(
                f"{file} was altered or truncated after it was saved (its SHA-256 is not the one in {SEAL}); {MEND}"
            )
        if name != NAME:
            with _reading(name):
                texts[name] = file.read_bytes().decode()
    return texts


def _plain(value: Any) -> Any:
    """Nested mappings and sequences as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _to_csv(table: pd.DataFrame | pd.Series[Any]) -> str:
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    levels = frame.index.nlevels
    flat = frame.reset_index(names=[name or f"level {k}" for k, name in enumerate(frame.index.names)])
    for position in range(levels):
        label = flat.columns[position]
        if not pd.api.types.is_numeric_dtype(flat[label]):
            flat[label] = [_escape(str(text)) for text in flat[label]]
    text = flat.to_csv(index=False, lineterminator="\n", na_rep="nan")
    if "\r" in text:  # a name with a carriage return: left unquoted by default, it would end the line for a reader
        return flat.to_csv(index=False, lineterminator="\n", na_rep="nan", quoting=csv.QUOTE_NONNUMERIC)
    return text


def _from_csv(text: str, levels: int, numbered: bool) -> pd.DataFrame:
    """All is read as text first: a member named 007 stays one."""
    flat = pd.read_csv(io.StringIO(text), dtype=str, na_filter=False)
    names = list(flat.columns[:levels])
    for name in names:
        flat[name] = flat[name].astype(float) if numbered else [_unescape(item) for item in flat[name]]
    for name in flat.columns[levels:]:
        said = flat[name].map({"True": True, "False": False})
        flat[name] = said.astype(bool) if len(said) and said.notna().all() else flat[name].astype(float)
    return flat.set_index(names)


def _escape(text: str) -> str:
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def _unescape(text: str) -> str:
    return text.removeprefix("'")
