"""What to say of rules that ask for a plan far beyond all losses."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from calibrate.program.compiled import Compiled, NotSeparable, compiled
from calibrate.program.form import Floats, Program
from calibrate.program.scaling import power_of

__all__ = ["far_beyond"]

BINDING = 1e-9  # of the largest price: less is none
FAR = 1e6  # units: a plan that large is not what anybody meant, and its numbers hold no digits of the losses


def far_beyond(program: Program) -> str | None:
    """Which rules ask for how much, and for whose sake; None where they ask for no more than the losses' own size.

    The least sum of contributions that the linear rules leave, by a linear program in the scale of what they ask for.
    """
    ordered = program.ordered
    try:
        form = compiled(ordered)
    except NotSeparable:
        return None
    cells, body = ordered.n_cells, form.body
    n = body.cone.orthant
    (G, h), (E, f) = _near_one(body.G[:n], body.h[:n]), _near_one(body.E, body.f)
    size = max(float(-h.min(initial=0.0)), float(np.abs(f).max(initial=0.0)))
    free = np.ones(form.size, dtype=bool)
    free[body.bounded] = False
    costs = np.where(np.arange(form.size) < cells, form.scale, 0.0)
    found = linprog(
        costs / (costs.max() or 1.0),
        A_ub=G,
        b_ub=h / (size or 1.0),
        A_eq=E,
        b_eq=f / (size or 1.0),
        bounds=[(None, None) if one else (0, None) for one in free],
    )
    if found.x is None or not float(costs @ found.x) * size > FAR:
        return None
    prices = np.append(found.ineqlin.marginals, found.eqlin.marginals)
    return _told(ordered, form, float(costs @ found.x) * size, prices, _asked(ordered, np.vstack([G, E]), h, f, prices))


def _near_one(A: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Rows whose largest entry is near one: a general solver drops what is below 1e-9."""
    factor = power_of(np.abs(A).max(axis=1, initial=0.0))
    return A * factor[:, None], b * factor


def _asked(program: Program, rows: Floats, h: Floats, f: Floats, prices: Floats) -> list[int]:
    """Members of whom the row that asks for most asks it: entries that have the sign of what they must come to."""
    amounts = np.append(np.minimum(h, 0.0), f)
    most = int(np.argmax(np.abs(prices * amounts)))
    columns = np.flatnonzero(rows[most, : program.n_cells] * amounts[most] > 0)
    return sorted({int(column) // len(program.pool.scenarios.segments) for column in columns})


def _told(program: Program, form: Compiled, least: float, prices: Floats, asked: list[int]) -> str:
    """In words; a member is named where one alone is asked."""
    n, currency = form.body.cone.orthant, program.pool.scenarios.currency
    room = np.vstack([form.room[:n], form.equal_room[: len(form.body.f)]])
    binding = np.abs(prices) > BINDING * np.abs(prices).max()
    owners = np.flatnonzero(np.any(room[binding] != 0, axis=0))
    names = " and ".join(str(program.rules[k]) for k in owners)
    losses, what = program.pool.expected_losses, "lower what is asked for, and look at its currency"
    whose = f"all members are expected to lose {losses.sum():.3g} {currency}"
    if len(asked) == 1:
        member, lost = program.pool.members[asked[0]], losses[asked[0]]
        whose = f"member {member!r} is expected to lose {lost:.3g} of {losses.sum():.3g} {currency}"
        what = "lower what is asked of this member, widen the band, or leave the member out of these rules"
    return (
        f"{names} can only be kept by contributions of at least {least * program.unit:,.3g} {currency} in all, "
        f"{least:.1g} times the tail of all losses, where no proof has digits enough: {whose}; {what}"
    )
