"""Expressions and constraints read as matrices: against what cvxpy hands to a solver, and against values at points."""

import cvxpy as cp
import numpy as np
import pytest

from calibrate.program.affine import NotSeparable, affine, rows_of

x = cp.Variable(3)
nonnegative = cp.Variable(2, nonneg=True)

CONSTRAINTS = {
    "affine": cp.hstack([x - cp.sum(x), 2 * x[:2] + 1]) <= cp.Variable(),
    "norm2": cp.norm2(x) <= 2 * x[0] + 1,
    "norm1": cp.norm1(x[:2]) <= x[2],
    "largest": cp.sum_largest(x, 2) <= 1,
    "max": cp.max(x) <= 3,
    "positive part": cp.sum(cp.pos(x - 1)) <= 0.5 * cp.sum(x),
    "norms": cp.norm(cp.reshape(cp.hstack([x, x + 1]), (2, 3), order="C"), 2, axis=0) <= 1,
    "norms of rows": cp.norm(cp.reshape(cp.hstack([x, x + 1]), (2, 3), order="C"), 2, axis=1) <= 1,
    "variables of its own": x[:2] - 3 * nonnegative <= 0,
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_rows_are_those_that_cvxpy_hands_to_a_solver(name):
    constraint = CONSTRAINTS[name]
    found = rows_of(constraint, [x])
    data, _, _ = cp.Problem(cp.Minimize(0), [constraint]).get_problem_data(cp.CLARABEL)
    dims, at = data["dims"], data["param_prob"].var_id_to_col[x.id]
    assert (found.zero, found.orthant, found.sizes) == (dims.zero, dims.nonneg, tuple(dims.soc))
    theirs = data["A"].toarray()
    assert found.A.shape == theirs.shape
    np.testing.assert_array_equal(found.A[:, :3], theirs[:, at : at + 3])
    np.testing.assert_array_equal(found.b, data["b"])
    others = np.delete(theirs, np.arange(at, at + 3), axis=1)
    np.testing.assert_array_equal(sorted(found.A[:, 3:].T.tolist()), sorted(others.T.tolist()))


def test_a_variable_that_must_not_be_negative_brings_a_row():
    found = rows_of(CONSTRAINTS["variables of its own"], [x])
    assert found.orthant == 2 + nonnegative.size


def test_an_affine_expression_is_its_matrix_at_every_point():
    expression = cp.hstack([x @ np.arange(3.0) + 4, cp.cumsum(x)[1:] / 7])
    A, b = affine(expression, x)
    for point in np.random.default_rng(3).normal(size=(5, 3)):
        x.value = point
        np.testing.assert_allclose(A @ point + b, expression.value, rtol=1e-14)


def test_what_is_not_affine_or_needs_another_cone_is_said():
    with pytest.raises(NotSeparable, match="not affine"):
        affine(cp.abs(x), x)
    with pytest.raises(NotSeparable, match="neither linear nor of second order"):
        rows_of(cp.exp(x[0]) <= 1, [x])
