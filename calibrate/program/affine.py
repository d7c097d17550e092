"""What cvxpy knows of expressions and constraints, as dense matrices.

`grad` and `get_problem_data` say the same; they take ten times as long, and half of a small pool's solve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from cvxpy.constraints import SOC, Equality, Inequality, NonNeg, NonPos, Zero
from cvxpy.cvxcore.python.canonInterface import get_problem_matrix
from cvxpy.lin_ops.lin_op import CONSTANT_ID
from cvxpy.reductions.chain import Chain
from cvxpy.reductions.cvx_attr2constr import CvxAttr2Constr
from cvxpy.reductions.dcp2cone.dcp2cone import Dcp2Cone

__all__ = ["NotSeparable", "Rows", "affine", "rows_of"]

Floats = npt.NDArray[np.float64]
_Part = tuple[Floats, Floats]  # A, b


class NotSeparable(Exception):  # noqa: N818 (a reason to go the extensive way, not an error)
    """The program has a form that the tail solver does not know."""


def affine(expression: cp.Expression, x: cp.Variable) -> tuple[Floats, Floats]:
    """`(A, b)` with `expression = A x + b`, entries of the expression column by column.

    >>> x = cp.Variable(2)
    >>> affine(3 * x[1] - x[0] + 5, x)
    (array([[-1.,  3.]]), array([5.]))
    """
    if not expression.is_affine():
        raise NotSeparable("a layer or a cost is not affine in the plan")
    try:
        return _read(expression, {x.id: 0}, x.size)
    except NotImplementedError:  # an atom that cvxpy writes as constraints
        return _by_gradient(expression, x)


def _by_gradient(expression: cp.Expression, x: cp.Variable) -> tuple[Floats, Floats]:
    """The same by way of the gradient: slow, and it knows every atom."""
    x.value = np.zeros(x.shape)
    slope, constant = expression.grad[x], np.ravel(np.asarray(expression.value, dtype=float), order="F")
    dense = np.asarray(slope.todense() if hasattr(slope, "todense") else slope, dtype=float)  # 1 by 1 is a number
    return dense.reshape(x.size, len(constant)).T, constant


@dataclass(frozen=True, eq=False)
class Rows:
    """`A (variables) + s = b` with `s` in a cone: rows ordered zero, orthant, second-order cones of `sizes`."""

    A: Floats
    b: Floats
    zero: int
    orthant: int
    sizes: tuple[int, ...]


def rows_of(constraint: Inequality, first: Sequence[cp.Variable]) -> Rows:
    """A convex inequality as rows of a cone; the `first` variables own the first columns, cvxpy's own ones follow.

    Raises `NotSeparable` where it needs another cone.
    """
    problem = cp.Problem(cp.Minimize(0), [constraint])
    if constraint.expr.is_affine() and {one.id for one in first}.issuperset(one.id for one in problem.variables()):
        with suppress(NotImplementedError):
            return _stacked(problem, first)
    reduced, _ = Chain(reductions=[Dcp2Cone(), CvxAttr2Constr(reduce_bounds=True)]).apply(problem)
    return _stacked(reduced, first)


def _stacked(problem: cp.Problem, first: Sequence[cp.Variable]) -> Rows:
    """The rows of all constraints, which are affine or of second order."""
    start, columns = 0, {}
    for variable in [*first, *(one for one in problem.variables() if all(one.id != other.id for other in first))]:
        columns[variable.id] = start
        start += variable.size
    zero: list[_Part] = []
    orthant: list[_Part] = []
    second: list[_Part] = []
    for one in problem.constraints:
        if isinstance(one, Zero | Equality | Inequality | NonPos):
            A, b = _read(one.args[0] if len(one.args) == 1 else one.args[0] - one.args[1], columns, start)
            (zero if isinstance(one, Zero | Equality) else orthant).append((A, 0.0 - b))
        elif isinstance(one, NonNeg):
            A, b = _read(one.args[0], columns, start)
            orthant.append((-A, b))
        elif isinstance(one, SOC):
            second += _second_order(one, columns, start)
        else:
            raise NotSeparable(f"{one} needs a cone that is neither linear nor of second order")
    parts = [*zero, *orthant, *second]
    A = np.vstack([np.zeros((0, start)), *(A for A, _ in parts)])
    b = np.concatenate([np.zeros(0), *(b for _, b in parts)])
    return Rows(A, b, sum(len(b) for _, b in zero), sum(len(b) for _, b in orthant), tuple(len(b) for _, b in second))


def _second_order(cone: SOC, columns: Mapping[int, int], width: int) -> list[_Part]:
    """Every `norm2(X column) <= t` as rows of its own, `t` first."""
    t, X = cone.args
    T, t0 = _read(t, columns, width)
    body, x0 = _read(X.T if cone.axis == 1 and X.ndim == 2 else X, columns, width)
    size = len(x0) // len(t0)
    blocks = [slice(k * size, (k + 1) * size) for k in range(len(t0))]
    return [(-np.vstack([T[k], body[at]]), np.append(t0[k], x0[at])) for k, at in enumerate(blocks)]


def _read(expression: cp.Expression, columns: Mapping[int, int], width: int) -> _Part:
    """`(A, b)` of an affine expression in variables that start at `columns`."""
    operator, _ = expression.canonical_form
    known = {variable.id: columns[variable.id] for variable in expression.variables()}
    none = {CONSTANT_ID: 0}
    flat = get_problem_matrix([operator], width, known, {CONSTANT_ID: 1}, none, expression.size)
    table = np.asarray(flat.todense(), dtype=float).reshape(width + 1, expression.size).T
    return np.ascontiguousarray(table[:, :width]), table[:, width].copy()
