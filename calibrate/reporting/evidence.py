"""What the numbers of the page rest on: two errors apart, tails, the models that lost."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from calibrate.reporting import tables, words

if TYPE_CHECKING:
    from calibrate.calibration import Calibration

__all__ = ["evidence", "history_interval"]

APART = 12  # members that share a tail and still have a row each
SHOWN = 40  # rows of a table of the page; `reporting.tables` have all
SCORES = {"log_likelihood": "log-likelihood", "aic": "AIC", "log_score": "log score", "p_value": "p-value"}
PARTS = {
    "frequency": "How often: counts by period",
    "clustering": "How often: days of the events",
    "severity": "How large",
    "dependence": "Together",
}


def evidence(calibration: Calibration) -> dict[str, Any]:
    """Rows for the template, largest first where there are more than can be read."""
    rows = _open_rows(calibration)
    marked = _tail_rows(calibration)
    return {
        "open_rows": rows[:SHOWN],
        "open_more": max(len(rows) - SHOWN, 0),
        "outside": sum(row["amount"] < row["history_lower"] or row["amount"] > row["history_upper"] for row in rows),
        "history_of": _stated(calibration, "uncertainty"),
        "history_refused": calibration.provenance.get("uncertainty_refused"),
        "failed": _failed(calibration),
        "tail_rows": marked[:SHOWN],
        "tail_more": max(len(marked) - SHOWN, 0),
        "tails_known": bool(tables.tails(calibration).shape[0]),
        "choices": _choice_parts(calibration),
        "together": _together(calibration),
        "plan_gap": _stated(calibration, "optimality_gap"),
    }


def history_interval(calibration: Calibration, term: str) -> tuple[float, float] | None:
    """What the history leaves open of a risk term, money; None where it was not resampled."""
    found = calibration.uncertainty
    if found is None or ("risk", term) not in found.index:
        return None
    lower, upper = found[["lower", "upper"]].to_numpy()[found.index.get_loc(("risk", term))]
    return float(lower), float(upper)


def _open_rows(calibration: Calibration) -> list[dict[Hashable, Any]]:
    """Risk, reserves, then contributions; nothing where the history was not resampled."""
    if calibration.uncertainty is None:
        return []
    table = tables.uncertainty(calibration)
    labels = [(str(kind), str(of)) for kind, of in table.index]
    rows = [
        {"name": words.number(kind, of), "kind": kind, **row}
        for (kind, of), row in zip(labels, table.to_dict("records"), strict=True)
    ]
    paid = sorted((row for row in rows if row["kind"] == "contribution"), key=lambda row: -row["amount"])
    return [row for kind in ("risk", "reserve") for row in rows if row["kind"] == kind] + paid


def _failed(calibration: Calibration) -> int:
    found = calibration.uncertainty
    return 0 if found is None or found.empty or math.isnan(found["failed"].max()) else int(found["failed"].max())


def _tail_rows(calibration: Calibration) -> list[dict[Hashable, Any]]:
    """Tails that have something to mind, heaviest first; many members that share one are one row."""
    table = tables.tails(calibration)
    if table.empty:
        return []
    kept = table[table["mind"] != ""].sort_values("shape", ascending=False, kind="stable").reset_index()
    several = len(set(kept["segment"])) > 1
    rows: list[dict[Hashable, Any]] = []
    for (segment, *_), group in kept.groupby(["segment", "shape", "mind"], sort=False, dropna=False):
        for names, part in _together_or_apart(group):
            name = f"{names}, {segment}" if several else names
            rows.append({**part.iloc[0].to_dict(), "name": name, "capped": _capped(part)})
    return rows


def _together_or_apart(group: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if len(group) > APART:
        return [(f"{len(group)} members", group)]
    return [(str(group["member"].iloc[k]), group.iloc[k : k + 1]) for k in range(len(group))]


def _capped(rows: pd.DataFrame) -> str:
    """The most that one event can cost, and what limits it."""
    low, high = float(rows["cap"].min()), float(rows["cap"].max())
    if math.isinf(high):
        return "no cap" if math.isinf(low) else f"{words.money(low)} or more"
    amount = words.money(low) if low == high else f"{words.money(low)} to {words.money(high)}"
    return f"{amount} (by {' or '.join(dict.fromkeys(map(str, rows['cap_by'])))})"


def _choice_parts(calibration: Calibration) -> list[dict[str, Any]]:
    """Candidates by part and segment, in the order in which a loss comes about."""
    table = tables.choices(calibration)
    if table.empty:
        return []
    parts = []
    for part, heading in PARTS.items():
        if part in table.index.get_level_values("part"):
            for segment, rows in table.loc[part].groupby(level="segment", sort=False):
                named = f"{heading}, {words.plain(segment)}" if segment not in ("", "all") else heading
                found = rows.droplevel("segment").reset_index()
                shown = [(name, title) for name, title in SCORES.items() if found[name].notna().any()]
                parts.append({"title": named, "scores": shown, "rows": found.to_dict("records")})
    return parts


def _together(calibration: Calibration) -> dict[str, Any] | None:
    """How members move together, in a few numbers; None where nothing is known."""
    found = calibration.provenance.get("dependence")
    if not isinstance(found, Mapping) or "family" not in found:
        return None
    numbers = {key: float(found[key]) for key in found if key not in ("family", "pair")}
    return {"lowest_tail": math.nan, **numbers, "pair": list(found.get("pair", [])), "family": str(found["family"])}


def _stated(calibration: Calibration, name: str) -> dict[str, Any] | None:
    """A mapping of the provenance, with what is a number as one; what was not asked for is left out."""
    found = calibration.provenance.get(name)
    if not isinstance(found, Mapping):
        return None
    return {str(key): float(value) for key, value in found.items() if value is not None}
