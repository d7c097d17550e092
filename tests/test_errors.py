"""The errors: they reach another process whole."""

import pickle

import pytest

from calibrate import Scenarios, errors, fairness
from calibrate.certificate import verify
from calibrate.errors import DataError, RuleConflictError
from calibrate.program import Budget, CostOfCapital, PoolProblem, Waterfall

MADE = {
    "DataError": lambda: DataError(["row 3: loss is NaN", "row 7: loss is negative"]),
    "RuleConflictError": lambda: RuleConflictError("no plan", {"FundFloor": 5.0}),
}


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_survives_a_process(name):
    error = MADE.get(name, lambda: getattr(errors, name)("a sentence"))()
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) is getattr(errors, name)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_conflict_arrives_with_its_proof(tmp_path):
    scenarios = Scenarios([[0.0, 1.0], [4.0, 0.0]], members=["A", "B"])
    with pytest.raises(RuleConflictError) as caught:
        PoolProblem(scenarios, Waterfall(), CostOfCapital(0.1, 0.1), [fairness.FundFloor(10.0), Budget(5.0)]).solve()
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.conflict == caught.value.conflict
    assert verify(again.certificate.save(tmp_path / "conflict")).proved
