"""What cvxpy knows of expressions and constraints, as dense matrices.

`grad` and `get_problem_data` say the same; they take ten times as long, and half of a small pool's solve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return _read(expression, {x.id: 0}, x.size)


@dataclass(frozen=True, eq=False)
class Rows:
    """`A (variables) + s = b` with `s` in a cone: rows ordered zero, orthant, second-order cones of `sizes`."""

    A: Floats
    b: Floats
    zero: int
    orthant: int
    sizes: tuple[int, ...]


def rows_of(constraint: cp.Constraint, first: Sequence[cp.Variable]) -> Rows:
    """A convex constraint as rows of a cone; the `first` variables own the first columns, cvxpy's own ones follow.

    Raises `NotSeparable` where it needs another cone.
    """
    chain = Chain(reductions=[Dcp2Cone(), CvxAttr2Constr()])
    reduced, _ = chain.apply(cp.Problem(cp.Minimize(0), [constraint]))
    start, columns = 0, {}
    given = {variable.id for variable in first}
    for variable in [*first, *(one for one in reduced.variables() if one.id not in given)]:
        columns[variable.id] = start
        start += variable.size
    zero: list[_Part] = []
    orthant: list[_Part] = []
    second: list[_Part] = []
    for one in reduced.constraints:
        if isinstance(one, Zero | Equality | Inequality | NonPos):
            A, b = _read(one.args[0] if len(one.args) == 1 else one.args[0] - one.args[1], columns, start)
            (zero if isinstance(one, Zero | Equality) else orthant).append((A, -b))
        elif isinstance(one, NonNeg):
            A, b = _read(one.args[0], columns, start)
            orthant.append((-A, b))
        elif isinstance(one, SOC):
            second += _second_order(one, columns, start)
        else:
            raise NotSeparable(f"{constraint} needs a cone that is neither linear nor of second order")
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
    operator, constraints = expression.canonical_form
    if constraints:
        raise NotSeparable("an affine expression with variables of its own")
    known = {variable.id: columns[variable.id] for variable in expression.variables()}
    none = {CONSTANT_ID: 0}
    flat = get_problem_matrix([operator], width, known, {CONSTANT_ID: 1}, none, expression.size)
    table = np.asarray(flat.todense(), dtype=float).reshape(width + 1, expression.size).T
    return np.ascontiguousarray(table[:, :width]), table[:, width].copy()
