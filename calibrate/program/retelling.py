"""A certificate of the program in its own order, told in the order of who asked: the files describe their scenarios."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrate.program.form import Program
from calibrate.program.order import Order

__all__ = ["retold"]


def retold(ordered: Program, body: dict[str, Any]) -> dict[str, Any]:
    """The same rows, integers and multipliers, with members, segments and scenarios where the caller has them."""
    order, told = ordered.pool.order, ordered.asked.pool
    if order is None:
        return body
    to = np.append(ordered.positions, ordered.size + np.arange(body["auxiliary"])).tolist()
    stages = [body["waterfall"]["stages"][g] for g in [*np.argsort(order.segments).tolist(), -1]]
    reserves = _moved(body["reserves"], [j - ordered.n_cells for j in to[ordered.n_cells : ordered.size]])
    body = body | {
        "members": list(told.members),
        "segments": list(told.scenarios.segments),
        "reserves": reserves,
        "waterfall": {
            "own": _moved(body["waterfall"]["own"], to[: ordered.n_cells]),
            "stages": [_row(stage, to) for stage in stages],
        },
        "costs": _moved(body["costs"], to[: ordered.size]),
        "blocks": [[name, kind, [_row(row, to) for row in rows]] for name, kind, rows in body["blocks"]],
        "limits": [limit | {"row": _row(limit["row"], to)} for limit in body["limits"]],
    }
    if "published" in body:
        body["published"] = _moved(body["published"], to[: ordered.size])
    if body["multipliers"] is not None:
        flows = [_flows(ordered, order, one) for one in body["multipliers"]["flows"]]
        body["multipliers"] = body["multipliers"] | {"flows": flows}
    return body


def _moved(values: list[Any], to: list[int]) -> list[Any]:
    moved = list(values)
    for j, value in zip(to, values, strict=True):
        moved[j] = value
    return moved


def _row(row: list[Any], to: list[int]) -> list[Any]:
    entries, amount = row
    return [sorted([to[j], a] for j, a in entries), amount]


def _flows(ordered: Program, order: Order, flows: dict[str, Any]) -> dict[str, Any]:
    """Flows of one term: scenarios in the caller's order, and the columns with a loss within each."""
    chosen = np.array(flows["scenarios"], dtype=np.int64)
    at = order.rows[chosen]
    leaf = flows["leaf"]
    if any(leaf):
        losing = ordered.pool.scenarios.losses[chosen] > 0
        columns = (order.cells[np.flatnonzero(row)] for row in losing)
        leaf = [[one[j] for j in np.argsort(own)] for one, own in zip(leaf, columns, strict=True)]
    group = [_moved(one, order.segments.tolist()) if one else one for one in flows["group"]]
    by_row = np.argsort(at).tolist()
    return flows | {
        "scenarios": at[by_row].tolist(),
        "root": [flows["root"][s] for s in by_row],
        "group": [group[s] for s in by_row],
        "leaf": [leaf[s] for s in by_row],
    }
