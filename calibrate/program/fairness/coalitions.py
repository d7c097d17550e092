"""Which coalitions would leave: an exact search over `2^n - 2` groups, one by one or by cutting planes.

A coalition `z` in {0,1}^n gains `c.z - rho(z)` by leaving. As `rho(z) = max_q q.(L z)` over tail weights `q`, each `q`
gives a row `gain <= (c - L'q).z` that is valid for every `z`: a small integer program whose optimum bounds every
coalition's gain.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from calibrate.errors import SolverError
from calibrate.program.tail import tail_weights
from calibrate.scenarios import Scenarios

__all__ = ["aggrieved", "all_coalitions", "few", "most_aggrieved", "neighbours"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
TOLERANCE = 1e-7  # of all contributions: a gain below it is no reason to leave
MOST_ROUNDS = 2000
MOST_GROUPS, MOST_LOSSES = 2**16, 2e8  # groups, and losses of all groups, up to which each is looked at
AT_ONCE = 20  # groups that are added
FINE = 1e4  # gains are counted in 1 / FINE of all contributions: the solver keeps its rows to 1e-6 of its own unit


def all_coalitions(n: int) -> Mask:
    """Masks of all groups but the empty one and the whole pool, shape (2^n - 2, n).

    >>> all_coalitions(6).shape
    (62, 6)
    """
    numbers = np.arange(1, 2**n - 1)
    return np.asarray((numbers[:, None] >> np.arange(n)) & 1, dtype=bool)


def few(members: int, scenarios: int) -> bool:
    """Whether so many coalitions can be looked at one by one."""
    return bool(2.0**members <= MOST_GROUPS and 2.0**members * scenarios <= MOST_LOSSES)


def aggrieved(contributions: Floats, groups: Mask, risks: Floats, epsilon: float) -> Mask:
    """Those of the groups that pay most above `rho(S) + epsilon`, a row each."""
    gains = groups @ contributions - risks - epsilon
    worst = np.argsort(-gains, kind="stable")[:AT_ONCE]
    return np.asarray(groups[worst[gains[worst] > TOLERANCE * contributions.sum()]])


def most_aggrieved(contributions: Floats, scenarios: Scenarios, level: float, epsilon: float) -> Mask | None:
    """A coalition that pays more than `rho(S) + epsilon`, or None once it is proven that none can."""
    n, unit = len(contributions), float(contributions.sum())
    if n < 2 or unit <= 0:
        return None
    losses, p = scenarios.member_losses / unit, scenarios.probabilities
    paid, room = contributions / unit, epsilon / unit + TOLERANCE

    def slopes(z: Floats) -> Floats:
        """`c - L'q` with the tail weights `q` of the group `z`: the row that is tight at `z`."""
        return paid - tail_weights(losses @ z, p, level) @ losses

    rows = [slopes(np.ones(n))]
    for integral in (False, True):  # the relaxation is quick, and usually proof enough
        for _ in range(MOST_ROUNDS):
            z, bound = _best(np.array(rows), integral)
            if bound <= room:
                return None
            row = slopes(z)
            if integral and row @ z > room:
                return z > 0.5
            if not integral and (rounded := _rounded(z)) is not None and slopes(rounded) @ rounded > room:
                return rounded > 0.5
            if row @ z >= bound - 0.1 * TOLERANCE:
                break  # the relaxation is solved and positive: only the integers can tell
            rows.append(row)
    raise SolverError(
        f"CoalitionStability: the search for an aggrieved coalition did not end within {MOST_ROUNDS} rounds; "
        "raise epsilon or use IndividualRationality"
    )


def neighbours(group: Mask, scenarios: int) -> Mask:
    """A group, and those with one member more or fewer: where one is aggrieved, such often are, and rounds take time.

    >>> neighbours(np.array([True, True, False]), 10).astype(int).tolist()
    [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    """
    n = group.size
    near = np.vstack([group, group ^ np.eye(n, dtype=bool)])[: 1 if n * n * scenarios > MOST_LOSSES else None]
    size = near.sum(axis=1)
    return np.asarray(near[(size > 0) & (size < n)])


def _best(rows: Floats, integral: bool) -> tuple[Floats, float]:
    """`max gain` with `gain <= row.z` for all rows, `1 <= sum z <= n - 1`."""
    n = rows.shape[1]
    cuts = LinearConstraint(np.column_stack([np.ones(len(rows)), -FINE * rows]), -np.inf, 0.0)
    size = LinearConstraint(np.append(0.0, np.ones(n))[None, :], 1.0, n - 1.0)
    result = milp(
        np.append(-1.0, np.zeros(n)),
        constraints=[cuts, size],
        integrality=np.append(0, np.full(n, int(integral))),
        bounds=Bounds(np.append(-1e3 * FINE, np.zeros(n)), np.append(1e3 * FINE, np.ones(n))),
    )
    if result.status != 0:
        raise SolverError(f"CoalitionStability: the search ended with status {result.status} ({result.message})")
    z = np.round(result.x[1:]) if integral else result.x[1:]
    return z, float(-result.fun) / FINE


def _rounded(z: Floats) -> Floats | None:
    group = (z > 0.5).astype(float)
    return group if 0 < group.sum() < len(z) else None
