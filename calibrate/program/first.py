"""Where a search sets out: rules apart, the optimum may be many times the reference, or a small part of it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.errors import SolverError
from calibrate.program.compiled import Compiled
from calibrate.program.form import Program
from calibrate.program.sample import Sample
from calibrate.program.sight import View

__all__ = ["good_multiple"]

Floats = npt.NDArray[np.float64]

MOST_DOUBLINGS = 12  # of the reference
FEW = 50  # scenarios of a tail that tell how large a plan should be


def good_multiple(program: Program, form: Compiled, sample: Sample, v: Floats) -> Floats:
    """A multiple of a plan that costs little, as a few scenarios of the tail tell."""
    cost = View(program, form, _thin(form, sample)).price
    best = cost(v)
    for factor in (2.0, 0.5):
        for _ in range(MOST_DOUBLINGS):
            other = cost(factor * v)
            if other >= best:
                break
            v, best = factor * v, other
    return v


def _thin(form: Compiled, sample: Sample) -> Sample:
    """A sample of a sample, where it is in memory."""
    share = 1 - max((term.level for term in form.terms), default=0.0)
    stride = int(len(sample.probabilities) * share / FEW)
    if stride > 1 and not isinstance(sample.losses, Blocks):
        with suppress(SolverError):
            return sample.thinned(stride)
    return sample
