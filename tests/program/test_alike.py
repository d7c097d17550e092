"""Bunches of equal rows are those of a sort."""

import numpy as np
import pytest

from calibrate.program.alike import alike, apart


def told(table):
    """A table by row, column and value of what is not zero."""
    row, column = np.nonzero(table)
    return row, column, table[row, column]


@pytest.mark.parametrize("seed", range(4))
def test_bunches_are_those_of_a_sort(seed):
    rng = np.random.default_rng(seed)
    left = np.round(rng.pareto(1.0, (500, 3)), 0) * (rng.random((500, 3)) < 0.5)
    right = (rng.random((500, 2)) < 0.3).astype(float)
    bunches = alike(500, told(left), told(right))
    _, first, which = np.unique(np.hstack([left, right]), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    assert np.array_equal(bunches.first, first[order])
    assert np.array_equal(bunches.which, np.argsort(order)[which])


def test_a_table_is_not_taken_for_the_next_one():
    left, right = np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])
    assert len(alike(2, told(left), told(right)).first) == 2


def test_weights_of_bunches_add_up():
    bunches = alike(3, told(np.array([[2.0], [3.0], [2.0]])))
    assert bunches.total(np.array([0.5, 0.25, 0.125])).tolist() == [0.625, 0.25]
    assert apart(3).total(np.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert alike(0, told(np.zeros((0, 2)))).total(np.zeros(0)).dtype == float  # else a kernel is compiled anew
