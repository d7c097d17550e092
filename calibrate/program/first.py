"""Where a search sets out: rules apart, the optimum may be many times the reference, or a small part of it.

And a reference that is no plan of before has no reserves, where the optimum may well have some.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.errors import SolverError
from calibrate.program.compiled import Compiled
from calibrate.program.form import Program
from calibrate.program.sample import Sample
from calibrate.program.sight import View

__all__ = ["good_multiple", "good_reserves"]

Floats = npt.NDArray[np.float64]

MOST_DOUBLINGS = 12  # of the reference
FEW = 50  # scenarios of a tail that tell how large a plan should be


def good_multiple(program: Program, form: Compiled, sample: Sample, v: Floats) -> Floats:
    """A multiple of a plan that costs little, as a few scenarios of the tail tell."""
    return _multiple(View(program, form, _thin(form, sample)).price, np.zeros(len(v)), v)[0]


def good_reserves(view: View, v: Floats) -> Floats:
    """A plan with as much in reserve as costs little, one reserve after the other, from the value at risk on.

    In the waterfall a reserve pays what `t` of a CVaR does, for its cost; so it takes all of it, and more.
    """
    at_risk = float(view.look(v, near=False).at_risk.max(initial=0.0))
    best, size = view.price(v), view.program.size
    for j in range(view.program.n_cells, size):
        others, own = v.copy(), np.zeros(len(v))
        others[j], own[j] = 0.0, max(float(v[j]), at_risk)
        found, cost = _multiple(view.price, others, own)
        if cost < best:
            v, best = found, cost
    return v


def _multiple(price: Callable[[Floats], float], fixed: Floats, v: Floats) -> tuple[Floats, float]:
    """`fixed` and the multiple of `v` with which it costs least, by doubling and halving; and what it costs."""
    best = price(fixed + v)
    for factor in (2.0, 0.5):
        for _ in range(MOST_DOUBLINGS):
            other = price(fixed + factor * v)
            if other >= best:
                break
            v, best = factor * v, other
    return fixed + v, best


def _thin(form: Compiled, sample: Sample) -> Sample:
    """A sample of a sample, where it is in memory."""
    share = 1 - max((term.level for term in form.terms), default=0.0)
    stride = int(len(sample.probabilities) * share / FEW)
    if stride > 1 and not isinstance(sample.losses, Blocks):
        with suppress(SolverError):
            return sample.thinned(stride)
    return sample
