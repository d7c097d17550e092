"""Decisions, or auxiliary variables of rules, moved by as little as can be to where the rules of a certificate hold.

A solver keeps rules to a part of the whole plan; here nothing is relative to anything but the rows themselves. A least
distance program, solved by non-negative least squares (Lawson and Hanson 1974, chapter 23) in rounds that each count in
the miss that the one before left.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from calibrate.certificate import verifier

__all__ = ["auxiliary_nearest", "least_distance", "nearest"]

Floats = npt.NDArray[np.float64]

MOST_ROUNDS = 20
KEPT = 1e-13  # of a row's own size: missed by no more is rounding
FAR = 1e4  # times the miss: a row with so much room is not met by a step that mends it
SMALLEST = 1e-4  # of what is due by the reference: less moves like what is due
FREE = 1e3  # as much an auxiliary variable moves for the same distance
NOTHING = 1e-16  # of the mean of the reference: what is due by it from who never loses
TRACE = 1e-9  # of a decision, or of what is due: a step to so little is a step to nothing
MOST_MOVED = 500  # auxiliary variables at published integers: more take seconds
TAKEN, REST = 0.5, 0.3  # of what the verifier grants: aimed at, and as much more where rounding leaves it


def nearest(stated: Mapping[str, Any], decisions: Floats, reference: Floats) -> Floats | None:
    """Decisions near the given ones at which the rules of a certificate hold, and their auxiliary variables, money.

    Moves count as in the tie between optimal plans: each contribution by a like share of itself, and of its share of
    the `reference` where it is next to nothing; those of auxiliary variables hardly. None where nothing is found in a
    few rounds: there may be no plan.
    """
    n, grid = len(decisions), 10 ** stated["decimals"] * verifier.FINER
    v = np.append(decisions, [float(Fraction(int(one), grid)) for one in stated["witness"]])
    due = np.append(reference / (reference.mean() or 1.0), np.ones(n - len(reference)))
    for _ in range(MOST_ROUNDS):
        mean = float(v[: len(reference)].mean()) or stated["scale"]
        owed = mean * np.maximum(due, NOTHING)
        size = np.sqrt(np.where(v[:n] < SMALLEST * owed, owed, v[:n])) * np.sqrt(mean)
        size = np.append(size, FREE * np.maximum(np.abs(v[n:]), mean))
        moved, kept = _step(stated, v, size, TAKEN)
        if moved is None or kept:
            return moved
        moved[:n] = np.where(moved[:n] <= TRACE * np.maximum(v[:n], owed), 0.0, moved[:n])
        v = moved
    return None


def auxiliary_nearest(stated: Mapping[str, Any], whole: list[int], near: list[int]) -> list[int]:
    """Auxiliary variables, in 1e-9 of a unit, at which the rules hold at published integers, but for what is granted.

    From values `near` by, which stay where nothing is found in a few rounds, and where they are too many.
    """
    n, grid = len(whole), 10 ** stated["decimals"] * verifier.FINER
    v = np.array([float(Fraction(one * verifier.FINER, grid)) for one in whole] + [one / grid for one in near])
    for _ in range(MOST_ROUNDS if len(near) <= MOST_MOVED else 0):
        size = np.append(np.zeros(n), np.maximum(np.abs(v[n:]), stated["scale"]))
        moved, kept = _step(stated, v, size, TAKEN)
        if moved is None:
            break
        if kept:
            return [round(Fraction(one) * grid) for one in v[n:].tolist()]
        v = moved
    return near


def _step(stated: Mapping[str, Any], v: Floats, size: Floats, granted: float) -> tuple[Floats | None, bool]:
    """To the tangent planes of the rows; and whether there is nothing to mend. None where there is no step."""
    A, slack, rounding = _rows(stated, v, size, granted)
    miss = -float(slack.min(initial=0.0))
    if np.all(slack >= -rounding):
        return v, True
    near = slack <= FAR * miss
    step = least_distance(A[near], slack[near] / miss)
    return (None if step is None else v + size * miss * step), False


def least_distance(A: Floats, b: Floats) -> Floats | None:
    """The shortest `d` with `A d <= b`; None where there is none.

    >>> least_distance(np.array([[-1.0, -1.0]]), np.array([-2.0])).round(12).tolist()
    [1.0, 1.0]
    """
    E = -np.vstack([A.T, b])
    aim = np.append(np.zeros(A.shape[1]), 1.0)
    try:
        rest = E @ nnls(E, aim)[0] - aim
    except RuntimeError:  # it did not end
        return None
    return None if rest[-1] > -KEPT else np.asarray(-rest[:-1] / rest[-1])


def _rows(stated: Mapping[str, Any], v: Floats, size: Floats, granted: float) -> tuple[Floats, Floats, Floats]:
    """Rows `A d <= slack`, of length 1, of a move `size d`: decisions stay >= 0, a cone is its tangent plane at `v`.

    With a share of what the verifier grants for each decision in a row: a unit, and 2^-40 of itself. And by how much
    each may be missed for rounding: a part of the rest of that, or a little of its size where there is none.
    """
    n, unit = len(stated["costs"]), 0.1 ** stated["decimals"]
    rows, slacks, rooms = [*-np.eye(n, len(v))], v[:n].tolist(), [0.0] * n
    for _, kind, block in stated["blocks"]:
        A, left = np.zeros((len(block), len(v))), np.array([float(amount) for _, amount in block])
        for i, (row, _) in enumerate(block):
            for j, a in row:
                A[i, j] += a
        left -= A @ v
        room = float(np.abs(A[:, :n]).sum(axis=0) @ (unit + float(verifier.ROUNDED) * np.abs(v[:n])))
        length = float(np.linalg.norm(left[1:]))
        toward = np.append(1.0, -left[1:] / length if length else left[1:])
        rows.append(toward @ A)
        slacks.append(float(toward @ left) + granted * room)
        if kind == "equal":
            rows.append(-rows[-1])
            slacks.append(2 * granted * room - slacks[-1])
        rooms += [room] * (1 + (kind == "equal"))
    scaled = np.array(rows) * size
    own = np.linalg.norm(scaled, axis=1)
    said = own > 0
    rounding = np.where(np.array(rooms)[said] > 0, REST * np.array(rooms)[said] / own[said], KEPT)
    return scaled[said] / own[said, None], np.array(slacks)[said] / own[said], rounding
