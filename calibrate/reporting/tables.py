"""The answer as tables: numbers for pandas, text for the terminal, CSV that no spreadsheet will run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from calibrate.errors import DataError
from calibrate.records import FORMULA_STARTS
from calibrate.reporting import words

if TYPE_CHECKING:
    from calibrate.calibration import Calibration

__all__ = [
    "choices",
    "contributions",
    "fairness",
    "headline",
    "moves",
    "open_numbers",
    "risk",
    "rounded",
    "tails",
    "terminal",
    "to_csv",
    "uncertainty",
]

MANY = 1000  # seeds, where nothing says how many there were: the normal quantile


def headline(calibration: Calibration) -> pd.DataFrame:
    """The numbers to read first: tail risk with its 95 % interval, then what is paid in. Money, `amount, lower, upper`.

    Tail risk is out-of-sample where it was computed; the row says which.
    """
    rows: dict[str, tuple[float, float, float]] = {}
    name = headline_term(calibration)
    if name is not None:
        row = calibration.risk.loc[name].astype(float).to_dict()
        fresh = math.isfinite(row["out_of_sample"])
        amount = row["out_of_sample"] if fresh else row["in_sample"]
        rows[f"{name}, {'out-of-sample' if fresh else 'in-sample'}"] = (amount, row["lower"], row["upper"])
    for label, amount in (
        ("contributions", calibration.contributions.sum()),
        ("reserves", calibration.reserves.sum()),
        ("contributions and reserves", calibration.total),
    ):
        rows[label] = (float(amount), math.nan, math.nan)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["amount", "lower", "upper"])


def headline_term(calibration: Calibration) -> str | None:
    """Name of the risk term to read first: CVaR of the shortfall, else any CVaR, else the first."""
    names = [str(name) for name in calibration.risk.index]
    tails = [name for name in names if name.startswith("CVaR")]
    return next(iter([name for name in tails if "shortfall" in name] + tails + names), None)


def contributions(calibration: Calibration) -> pd.DataFrame:
    """Who pays what, by member, largest first: money, shares of the totals, loading `c[i] / mu[i]`, change.

    The change is from the reference. With several segments, one more column `in <segment>` for each.
    """
    members = calibration.members
    table = pd.DataFrame(index=members.index)
    table["contribution"] = calibration.contributions.groupby(level=0, sort=False).sum().reindex(members.index)
    table["weight"] = calibration.weights.reindex(members.index)
    for column in ("exposure", "expected_loss", "standalone_risk"):
        table[column] = members[column]
    table["exposure_share"] = _share(members["exposure"])
    table["expected_loss_share"] = _share(members["expected_loss"])
    table["loading"] = table["contribution"] / members["expected_loss"].where(members["expected_loss"] > 0)
    table["reference"] = members["reference"]
    table["change"] = table["contribution"] - members["reference"]
    if calibration.contributions.index.nlevels > 1:
        split = calibration.contributions.unstack(sort=False)  # noqa: PD010 (a pivot table would sort)
        split = split.reindex(members.index)
        table = table.join(split.rename(columns=lambda segment: f"in {segment}"))
    return table.sort_values("contribution", ascending=False, kind="stable")


def risk(calibration: Calibration) -> pd.DataFrame:
    """The risk table with `optimism`: how far in-sample lies below out-of-sample, as a share of the latter.

    `optimism_lower, optimism_upper`: the same at the limits of the out-of-sample interval, its Monte Carlo error.
    """
    table = calibration.risk.copy()
    measured = table["out_of_sample"] > 0
    for name, column in (("optimism", "out_of_sample"), ("optimism_lower", "lower"), ("optimism_upper", "upper")):
        table[name] = 1 - table["in_sample"] / table[column].where(measured & (table[column] > 0))
    return table


def uncertainty(calibration: Calibration) -> pd.DataFrame:
    """Contributions, reserves and risk, each with the error of simulation and that of the history, apart. Money.

    Index (number, of); columns `amount`, `simulation_lower, simulation_upper` (95 %, for risk terms the interval of the
    risk table, else `amount -+ t` Monte Carlo errors, `t` Student's quantile for the seeds they were measured with),
    `history_lower, history_upper` (95 %, bootstrap of the whole chain). Where the history was not resampled, risk terms
    only, their history columns NaN.
    """
    table = calibration.risk[["out_of_sample", "lower", "upper"]].set_axis(
        ["amount", "simulation_lower", "simulation_upper"], axis=1
    )
    risk_terms = table.assign(history_lower=math.nan, history_upper=math.nan)
    risk_terms.index = pd.MultiIndex.from_product([["risk"], table.index], names=["number", "of"])
    found = calibration.uncertainty
    if found is None:
        return risk_terms
    asked = calibration.provenance.get("uncertainty")
    seeds = float(asked["seeds"]) if isinstance(asked, Mapping) and "seeds" in asked else MANY
    half = float(stdtrit(max(seeds - 1, 1), 0.975)) * found["monte_carlo_error"]
    both = pd.DataFrame({"amount": found["estimate"], "simulation_lower": (found["estimate"] - half).clip(lower=0.0)})
    both["simulation_upper"] = found["estimate"] + half
    both["history_lower"], both["history_upper"] = found["lower"], found["upper"]
    same = both.index.intersection(risk_terms.index)
    published = ["amount", "simulation_lower", "simulation_upper"]
    both.loc[same, published] = risk_terms.loc[same, published]
    return both


def tails(calibration: Calibration) -> pd.DataFrame:
    """What the model says of the tail of each (member, segment): as `models.tail_table`; empty if nothing is known."""
    return _recorded(calibration, "tails", ["member", "segment"], ("shape", "lower", "upper", "exceedances", "cap"))


def choices(calibration: Calibration) -> pd.DataFrame:
    """What else could have been fitted, and how it scores: as `models.compare`; empty where it was not asked for."""
    scores = ("log_likelihood", "parameters", "aic", "log_score", "p_value")
    return _recorded(calibration, "choices", ["part", "segment", "candidate"], scores)


def _recorded(calibration: Calibration, name: str, index: list[str], numbers: tuple[str, ...]) -> pd.DataFrame:
    """Rows that the provenance holds, as a frame; on disk a number that is not finite is a text."""
    rows = calibration.provenance.get(name) or []
    frame = pd.DataFrame(list(rows), columns=[*index, *numbers] if not rows else None)
    frame = frame.astype({column: float for column in numbers if column in frame})
    return frame.set_index(index)


def fairness(calibration: Calibration) -> pd.DataFrame:
    """The fairness table with `in_words` (the rule), `holds`, `room` (money left) and `price_in_words`."""
    table = calibration.fairness.copy()
    rounding = 1e-6 * max(calibration.total, float(calibration.members["expected_loss"].sum()))
    table["room"] = (-table["gap"]).where(table["gap"].abs() > rounding, 0.0)
    table["holds"] = np.select([table["room"] < 0, table["binding"]], ["no", "binding"], "yes")
    table.insert(0, "in_words", [words.rule(str(text), calibration.currency) for text in table.index])
    table["price_in_words"] = [
        words.shadow_price(float(price), bool(binding), calibration.currency)
        for price, binding in zip(table["shadow_price"], table["binding"], strict=True)
    ]
    return table


def moves(calibration: Calibration, previous: Calibration) -> pd.DataFrame:
    """What moved, by member, largest move first: `previous, contribution, change` (money) and `change_share`.

    Who is new paid 0 before; who left pays 0 now; both are marked in `status`. Raises DataError for another currency.
    """
    if calibration.currency != previous.currency:
        raise DataError(
            f"the calibrations are in {calibration.currency!r} and {previous.currency!r}; "
            "expected one currency; convert the older one first"
        )
    now, before = (c.contributions.groupby(level=0, sort=False).sum() for c in (calibration, previous))
    everyone = now.index.append(before.index.difference(now.index, sort=False))
    table = pd.DataFrame({"previous": before.reindex(everyone), "contribution": now.reindex(everyone)})
    table["status"] = np.select([table["previous"].isna(), table["contribution"].isna()], ["new", "left"], "stays")
    table = table.fillna({"previous": 0.0, "contribution": 0.0})
    change, dust = table["contribution"] - table["previous"], 1e-9 * (calibration.total + previous.total)
    table["change"] = change.where(change.abs() > dust, 0.0)
    table["change_share"] = table["change"] / table["previous"].where(table["previous"] > 0)
    return table.iloc[np.argsort(-table["change"].abs().to_numpy(), kind="stable")].rename_axis("member")


def rounded(table: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """A table to be shown: contributions and reserves below a billionth of the total, a solver's dust, are zero."""
    least = 1e-9 * calibration.total
    paid = [name for name in table.columns if name in ("contribution", "amount") or str(name).startswith("in ")]
    return table.assign(**{str(name): table[name].where(table[name] > least, 0.0) for name in paid})


def _notes(calibration: Calibration) -> list[str]:
    """Why a term has no interval, or what it does not hold."""
    return [words.plain(note) for note in calibration.provenance.get("risk_notes", ())]


def terminal(calibration: Calibration) -> str:
    """All tables as plain text, amounts in the calibration's currency with thousands separators."""
    paid = contributions(calibration)
    columns = [
        name for name in ("contribution", "weight", "exposure", "expected_loss", "loading") if paid[name].notna().any()
    ]
    ratio = {"weight": words.percent, "loading": words.money}
    rules = fairness(calibration)[["in_words", "holds", "room", "price_in_words"]].rename(columns=_title)
    parts = [
        ("", _text(headline(calibration), {})),
        (
            "Who pays what",
            _text(rounded(paid[columns], calibration).rename(columns=_title), {_title(k): v for k, v in ratio.items()}),
        ),
        ("Reserves", _text(rounded(calibration.reserves.to_frame(), calibration), {})),
        ("Risk", "\n".join([_text(_risk_shown(calibration), {"optimism": words.percent}), *_notes(calibration)])),
        ("What simulation and what the history leave open", _open_shown(calibration)),
        ("Tails to mind", _tails_shown(calibration)),
        ("Fairness", _text(rules.reset_index(drop=True).set_index("in words"), {}, width=110)),
    ]
    unit = words.plain(calibration.currency)
    return "\n\n".join(
        f"{title} ({unit})\n{text}".lstrip() if title else f"In {unit}\n{text}" for title, text in parts if text
    )


def _risk_shown(calibration: Calibration) -> pd.DataFrame:
    table = risk(calibration)
    return table.drop(columns=["optimism_lower", "optimism_upper"]).rename(columns=_title)


def open_numbers(calibration: Calibration) -> pd.DataFrame:
    """`uncertainty` with one name a row, to be shown."""
    table = uncertainty(calibration)
    return table.set_axis(pd.Index([words.number(*map(str, label)) for label in table.index]))


def _open_shown(calibration: Calibration) -> str:
    """The two errors as text; nothing where the history was not resampled."""
    return "" if calibration.uncertainty is None else _text(open_numbers(calibration).rename(columns=_title), {})


def _tails_shown(calibration: Calibration) -> str:
    """Tails that have something to mind, as text."""
    table = tails(calibration)
    if table.empty:
        return ""
    kept = table[table["mind"] != ""][["family", "shape", "lower", "upper", "cap", "cap_by", "mind"]]
    return _text(kept.set_axis([" ".join(map(str, label)) for label in kept.index]).rename(columns=_title), {})


def to_csv(table: pd.DataFrame) -> str:
    """CSV text in which no cell, column or row name starts a formula: a leading `'` keeps it text.

    >>> to_csv(pd.DataFrame({"contribution": [1.5]}, index=pd.Index(["=1+1"], name="member")))
    "member,contribution\\n'=1+1,1.5\\n"
    """
    flat = table.reset_index()
    flat.columns = pd.Index([_text_cell(name) for name in flat.columns])
    for position, kind in enumerate(flat.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            flat.isetitem(position, [_text_cell(cell) for cell in flat.iloc[:, position]])
    return flat.to_csv(index=False, lineterminator="\n", na_rep="nan")


def _text_cell(cell: Any) -> str:
    text = " ".join(map(str, cell)) if isinstance(cell, tuple) else str(cell)
    return "'" + text if text.lstrip().startswith(FORMULA_STARTS) or text.startswith(("\t", "\r", "\n")) else text


def _share(column: pd.Series[float]) -> pd.Series[float]:
    total = column.sum(skipna=False)  # one unknown exposure makes every share unknown
    return column / total if total > 0 else column * math.nan


def _title(name: str) -> str:
    return name.replace("_", " ")


def _text(table: pd.DataFrame, ratios: dict[str, Callable[[float], str]], width: int = 60) -> str:
    """A frame as aligned text, every number by its kind; empty for an empty frame."""
    if table.empty:
        return ""
    shown = pd.DataFrame(index=[words.shorten(_text_cell(name), width) for name in table.index])
    for position, name in enumerate(table.columns):
        write = ratios.get(str(name), words.money)
        cells = table.iloc[:, position]
        shown[words.plain(name)] = (
            [write(float(cell)) for cell in cells]
            if pd.api.types.is_numeric_dtype(cells.dtype)
            else list(map(words.plain, cells))
        )
    return shown.to_string()
