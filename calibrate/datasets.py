"""Loss histories to start from, each with a card (`README.md`) that states source, licence and units."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from calibrate.errors import ConfigurationError, DataError
from calibrate.history import LossHistory

__all__ = ["crypto_venue_truth", "folder", "load", "load_cas_commercial_auto", "load_crypto_venue", "names"]

CLRD = Path("utils", "data", "clrd.csv")  # inside the package chainladder
YEARS = range(1988, 1998)
LEAST_PREMIUM = 1000  # USD thousand, in every year


def load_cas_commercial_auto() -> LossHistory:
    """46 US commercial-auto insurers, accident years 1988-97: incurred loss, and net premium as exposure; nominal USD.

    Companies with net earned premium above USD 1 million in all ten years; incurred loss as estimated at the end of
    1997. Source: CAS loss reserve database as packaged in `chainladder`, read from the installed package without
    importing it.

    Raises
    ------
    DataError
        if chainladder is not installed, or its table is not the one this loader knows.
    """
    table = pd.read_csv(_clrd_path())
    latest = table.loc[(table["LOB"] == "comauto") & (table["DevelopmentYear"] == YEARS[-1])]
    in_all = latest.loc[latest["EarnedPremNet"] > LEAST_PREMIUM].groupby("GRCODE")["AccidentYear"].nunique() == len(
        YEARS
    )
    pool = latest.loc[latest["GRCODE"].isin(in_all.index[in_all])]
    if pool.empty:
        raise DataError(
            f"{_clrd_path()} holds no company with net premium above USD {LEAST_PREMIUM} thousand in all of "
            f"{YEARS[0]}-{YEARS[-1]}, expected 46; install chainladder 0.10.1"
        )
    return LossHistory.from_panel(
        _by_year(pool, "IncurLoss"), exposures=_by_year(pool, "EarnedPremNet"), currency="USD"
    )


def load_crypto_venue() -> LossHistory:
    """A synthetic crypto-derivatives venue: 20 desks, three segments, 72 months, USD.

    Invented, and says so: `crypto_venue_truth()` holds the parameters of the process that made it. Exposure is the
    month's average open interest.

    >>> sorted(load_crypto_venue().segments)
    ['exploit', 'liquidation cascade', 'oracle failure']
    """
    home = folder("crypto-venue")
    exposures = pd.read_csv(home / "exposures.csv", index_col="month")
    exposures.index = pd.PeriodIndex(exposures.index, freq="M", name="period")
    return LossHistory.from_events(
        pd.read_csv(home / "events.csv"),
        date="date",
        member="member",
        loss="loss",
        segment="segment",
        exposures=exposures,
        period="M",
        start="2019-01-01",
        end="2024-12-31",
    )


def crypto_venue_truth() -> dict[str, Any]:
    """True parameters of the synthetic venue, and the expected losses that follow in closed form (USD a month).

    >>> crypto_venue_truth()["segments"]["exploit"]["tail"]["shape"]
    0.55
    """
    truth: dict[str, Any] = json.loads((folder("crypto-venue") / "truth.json").read_text(encoding="utf-8"))
    return truth


_LOADERS = {"cas-commercial-auto": load_cas_commercial_auto, "crypto-venue": load_crypto_venue}


def names() -> tuple[str, ...]:
    """Names under which `load`, `folder` and the command line know the data sets.

    >>> names()
    ('cas-commercial-auto', 'crypto-venue')
    """
    return tuple(_LOADERS)


def load(name: str) -> LossHistory:
    """The history of a data set by its name. Raises ConfigurationError for an unknown one."""
    return _LOADERS[_known(name)]()


def folder(name: str) -> Path:
    """Where the card, the starter configuration and the files of a data set lie.

    Raises ConfigurationError for an unknown name.
    """
    package = Path(__file__).resolve().parent
    for home in (package / "_datasets", package.parent / "datasets"):  # the wheel, the source tree
        place = home / _known(name).replace("-", "_")
        if place.is_dir():
            return place
    raise DataError(
        f"the data set {name!r} is not in this installation ({package / '_datasets'}); install calibrate again"
    )


def _known(name: str) -> str:
    if name not in _LOADERS:
        raise ConfigurationError(f"there is no data set {name!r}; expected one of {', '.join(_LOADERS)}")
    return name


def _clrd_path() -> Path:
    found = find_spec("chainladder")
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "the CAS data come with the package chainladder, which is not installed; run: pip install 'calibrate[cas]' "
            "(in a checkout: pip install '.[cas]')"
        )
    path = Path(found.submodule_search_locations[0]) / CLRD
    if not path.is_file():
        raise DataError(
            f"{path} is missing from the installed chainladder; run: pip install --force-reinstall chainladder"
        )
    return path


def _by_year(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Accident years x companies, USD."""
    dollars = 1000.0  # the table is in thousands
    wide = table.pivot(index="AccidentYear", columns="GRNAME", values=column)  # noqa: PD010 (it refuses duplicates)
    return wide.rename_axis(index="period", columns="member") * dollars
