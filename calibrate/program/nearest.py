"""Plans to publish in place of one that misses a rule: the nearest that keep the rules at the rules' own size.

A solver keeps rules to a part of the whole plan. Where contributions are tiny beside the reserves that is as much as
they are, and a rule that speaks of them alone is missed by far. Often they are no more than a solver's traces, and a
plan without them is as good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from calibrate.program.form import LITTLE, Program
from calibrate.program.least_distance import nearest
from calibrate.program.proof import certified
from calibrate.program.solution import Attempt, Solution

__all__ = ["plans_instead"]


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
