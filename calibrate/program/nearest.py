"""Plans to publish in place of one that misses a rule: the nearest that keep the rules at the rules' own size.

A solver keeps rules to a part of the whole plan. Where contributions are tiny beside the reserves that is as much as
they are, and a rule that speaks of them alone is missed by far. Often they are no more than a solver's traces, and a
plan without them is as good. What is left is a least distance program, solved by non-negative least squares (Lawson and
Hanson 1974, chapter 23) in rounds that each count in the miss that the one before left: so nothing is relative to
anything but the rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import nnls

from calibrate.certificate import verifier
from calibrate.program.form import LITTLE, Floats, Program
from calibrate.program.proof import certified
from calibrate.program.solution import Attempt, Solution

__all__ = ["least_distance", "nearest", "plans_instead"]

MOST_ROUNDS = 20
KEPT = 1e-13  # of a row's own size: missed by no more is rounding
FAR = 1e4  # times the miss: a row with so much room is not met by a step that mends it
SMALLEST = 1e-4  # of what is due by the reference: less moves like this much
FREE = 1e3  # as much an auxiliary variable moves for the same distance
NOTHING = 1e-16  # of the mean of the reference: what is due by it from who never loses
TRACE = 1e-9  # of a decision: a step to so little is a step to nothing


def plans_instead(program: Program, solution: Solution) -> Iterator[Solution]:
    """What may be published where the plan of a solution may not: the nearest to it, without its traces and with."""
    ordered, cells, x = program.ordered, program.n_cells, solution.x.copy()
    for part in (slice(cells), *(slice(j, j + 1) for j in range(cells, program.size))):
        if x[part].sum() <= LITTLE:
            x[part] = 0.0
    for start in (solution,) if np.array_equal(x, solution.x) else (replace(solution, x=x), solution):
        certificate = certified(program, start, 0.0, 1.0)
        decisions = program.unit * ordered.arranged(start.x)
        found = None if certificate is None else nearest(certificate.stated, decisions, ordered.reference[:cells])
        if found is not None:
            v, moved = found / program.unit, Attempt("least distance", "moved to where the rules hold")
            plan = replace(solution, x=v[: program.size], v=v, attempts=(*solution.attempts, moved))
            yield plan.told(program)


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
        least = SMALLEST * mean * np.maximum(due, NOTHING)
        size = np.sqrt(np.maximum(v[:n], least)) * np.sqrt(mean)
        size = np.append(size, FREE * np.maximum(np.abs(v[n:]), mean))
        A, slack = _rows(stated, v, size)
        miss = -float(slack.min(initial=0.0))
        if miss <= KEPT:
            return v
        near = slack <= FAR * miss
        step = least_distance(A[near], slack[near] / miss)
        if step is None:
            return None
        old, v = v, v + size * miss * step
        v[:n] = np.where(v[:n] <= TRACE * old[:n], 0.0, v[:n])
    return None


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


def _rows(stated: Mapping[str, Any], v: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Rows `A d <= slack`, of length 1, of a move `size d`: decisions stay >= 0, a cone is its tangent plane at `v`."""
    n = len(stated["costs"])
    rows, slacks = [*-np.eye(n, len(v))], v[:n].tolist()
    for _, kind, block in stated["blocks"]:
        A, left = np.zeros((len(block), len(v))), np.array([float(amount) for _, amount in block])
        for i, (row, _) in enumerate(block):
            for j, a in row:
                A[i, j] += a
        left -= A @ v
        length = float(np.linalg.norm(left[1:]))
        toward = np.append(1.0, -left[1:] / length if length else left[1:])
        rows.append(toward @ A)
        slacks.append(float(toward @ left))
        if kind == "equal":
            rows.append(-rows[-1])
            slacks.append(-slacks[-1])
    scaled = np.array(rows) * size
    own = np.linalg.norm(scaled, axis=1)
    return scaled[own > 0] / own[own > 0, None], np.array(slacks)[own > 0] / own[own > 0]
