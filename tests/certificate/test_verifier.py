"""The verifier against arithmetic done by hand, alone in a folder, and against plans that are not optimal."""

import ast
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from calibrate import Calibration, Scenarios, certificate, fairness, verify
from calibrate.errors import RuleConflictError, SolverError
from calibrate.program import CostOfCapital, CVaR, ExpectedLoss, PoolProblem, PoolReserve, SegmentReserve, Waterfall
from calibrate.program.answer import answer
from calibrate.program.extensive import solve_extensive
from calibrate.program.waterfall import OwnContribution
from calibrate.program.working_set import solve_by_tail

from .conftest import forge, pareto, plain_problem, rich_problem

VERIFIER = Path(certificate.__file__).with_name("verifier.py")

# --- by hand --------------------------------------------------------------------------------------------------------

TENTH = int(Fraction(0.1) * 2**55)  # the double 0.1, exactly


def by_hand(folder, paid="4.0", published="400", flow=TENTH, **changes):
    """A member loses 4 in one of two scenarios: `0.1 c + CVaR_0.5 (L - c)+ = 0.1 c + (4 - c)+` is least at c = 4.

    A flow of 0.1 through the loss takes all slope from c, and leaves the constant 0.1 * 4.
    """
    folder.mkdir()
    arrays = {
        "indices": np.array([0], dtype="<i4"),
        "indptr": np.array([0, 0, 1], dtype="<i8"),
        "format": np.array(b"csr"),
        "shape": np.array([2, 1]),
        "data": np.array([4.0]),
        "probabilities": np.array([0.5, 0.5]),
    }
    np.savez(folder / "scenarios.npz", **arrays)
    objective = float(Fraction(0.1) * Fraction(paid) + max(4 - Fraction(paid), 0))
    body = {
        "schema": 1,
        "kind": "plan",
        "currency": "USD",
        "members": ["A"],
        "segments": ["all"],
        "reserves": [],
        "waterfall": {"own": [1.0], "stages": [[[], 0.0], [[], 0.0]]},
        "costs": [0.1],
        "terms": [{"name": "CVaR 50% of mutualised", "level": 0.5, "of": "mutualised", "price": 1.0}],
        "auxiliary": 0,
        "rules": [],
        "searched": [],
        "blocks": [],
        "limits": [],
        "decimals": 12,
        "published": [published + "0" * 10],
        "witness": [],
        "objective": objective,
        "tolerance": 1e-6,
        "scale": 4.0,
        "multipliers": {
            "blocks": [],
            "limits": [],
            "flows": [{"shift": 55, "scenarios": [1], "root": [flow], "group": [[]], "leaf": [[flow]]}],
        },
        "lower_bound": float(Fraction(0.1) * 4),
    } | changes
    risks = {t["name"]: max(4 - float(paid), 0) * 0.5 / (1 - t["level"]) for t in body["terms"]}
    result = {"schema": 1, "currency": "USD", "objective": objective, "lower_bound": body["lower_bound"] or 0.0}
    result["provenance"] = {"tolerance": body["tolerance"], "unit": body["scale"], "subject_to": body["rules"]}
    tables = {
        "contributions": f"member,contribution\nA,{paid}\n",
        "reserves": "reserve,amount\n",
        "members": f"member,contribution,weight,sampled_loss\nA,{paid},1.0,2.0\n",
        "risk": "term,in_sample\n" + "".join(f"{name},{value!r}\n" for name, value in risks.items()),
        "fairness": "rule,gap\n" + "".join(f"{name},0.0\n" for name in body["rules"]),
    }
    result["index_levels"] = dict.fromkeys(tables, 1)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    (folder / "calibration.json").write_text(json.dumps(result))
    files = dict.fromkeys((*(f"{name}.csv" for name in tables), "calibration.json", "scenarios.npz"), "")
    (folder / "certificate.json").write_text(json.dumps(body | {"scenarios": "", "files": files}))
    forge(folder)
    return verify(folder)


def test_the_optimum_by_hand_is_proved_without_a_gap(tmp_path):
    verdict = by_hand(tmp_path / "run")
    assert (verdict.proved, verdict.gap, verdict.sentence) == (True, 0.0, "optimal within 0, proved")
    assert verdict.checks[2].startswith("the published integers cost 0.4 USD")


def test_a_plan_that_is_not_the_optimum_is_measured(tmp_path):
    verdict = by_hand(tmp_path / "run", paid="4.04", published="404")
    assert not verdict.proved
    assert verdict.gap == pytest.approx(0.04 / 4.04)
    assert verdict.sentence == "feasible, but only within 0.0099: not optimal"


def test_a_flow_that_pays_for_nothing_proves_nothing(tmp_path):
    """Less flow is a lower bound too, a worse one; with more, c is pulled to the edge of its box, 0.4 / 0.1 = 4."""
    half = by_hand(tmp_path / "half", flow=TENTH // 2, lower_bound=4 * (TENTH // 2) / 2**55)
    assert not half.proved
    assert half.gap == pytest.approx(0.5)
    assert by_hand(tmp_path / "more", flow=2 * TENTH).gap == 0.0
    assert "lower bound is not the one" in by_hand(tmp_path / "claim", flow=3 * TENTH, lower_bound=0.5).sentence
    assert "exceed its price" in by_hand(tmp_path / "price", flow=2**55 + 1).sentence


def test_a_flow_beyond_its_probability_is_refused(tmp_path):
    flows = {"shift": 0, "scenarios": [1], "root": [1], "group": [[]], "leaf": [[1]]}
    terms = [{"name": "CVaR 25% of mutualised", "level": 0.25, "of": "mutualised", "price": 1.0}]
    given = {"blocks": [], "limits": [], "flows": [flows]}
    assert (
        "a flow exceeds its probability"
        in by_hand(tmp_path / "run", terms=terms, multipliers=given, objective=0.4, lower_bound=0.4).sentence
    )


def test_no_multipliers_is_no_proof(tmp_path):
    verdict = by_hand(tmp_path / "run", multipliers=None, lower_bound=None)
    assert not verdict.proved
    assert verdict.sentence == "feasible, not proved optimal: the certificate has no multipliers"


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("at_most", [[[[0, 1.0]], 3.9]]),
        ("equal", [[[[0, 1.0]], 4.1]]),
        ("cone", [[[[0, 1.0]], 8.0], [[], 3.0], [[], 4.0]]),  # 8 - c >= norm(3, 4)
    ],
)
def test_a_rule_that_does_not_hold_is_named(kind, rows, tmp_path):
    given = {"blocks": [[0.0] * len(rows)], "limits": [], "flows": []}
    broken = by_hand(tmp_path / "run", rules=["Rule"], blocks=[["Rule", kind, rows]], multipliers=given)
    assert broken.sentence == "rejected: Rule does not hold"
    rows[0][1] += {"at_most": 0.1, "equal": -0.1, "cone": 1.0}[kind]
    held = by_hand(tmp_path / "held", rules=["Rule"], blocks=[["Rule", kind, rows]], multipliers=None, lower_bound=None)
    assert held.sentence.startswith("feasible")


def test_a_multiplier_outside_its_cone_is_refused(tmp_path):
    flows = [{"shift": 55, "scenarios": [1], "root": [TENTH], "group": [[]], "leaf": [[TENTH]]}]
    cone = [[[], 1.0], [[], 0.0], [[], 0.0]]
    for kind, rows, m in (("at_most", cone[:1], [-1e-30]), ("cone", cone, [5.0, 3.0, 4.000001])):
        given = {"blocks": [m], "limits": [], "flows": flows}
        verdict = by_hand(tmp_path / kind, rules=["Rule"], blocks=[["Rule", kind, rows]], multipliers=given)
        assert verdict.sentence == "rejected: not in its cone"


# --- alone ----------------------------------------------------------------------------------------------------------


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse(VERIFIER.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)
    assert len(VERIFIER.read_text(encoding="utf-8").splitlines()) < 300


def test_copied_alone_to_an_empty_folder_it_says_the_same(rich, tmp_path):
    folder = rich.save(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    alone = shutil.copy(VERIFIER, tmp_path / "empty/check.py")

    def run():
        command = [sys.executable, "-S", "-I", alone, folder]
        return subprocess.run(command, cwd=tmp_path / "empty", capture_output=True, text=True, check=False)

    done = run()
    verdict = verify(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*verdict.checks, verdict.sentence]
    (folder / "reserves.csv").write_text("reserve,amount\n")
    done = run()
    assert done.returncode == 5
    assert done.stdout == "rejected: reserves.csv was altered or truncated\n"


def test_what_is_no_calibration_is_told(plain, tmp_path):
    assert verify(tmp_path).sentence.startswith("rejected: the files do not read (FileNotFoundError")
    bare = dataclasses.replace(plain, certificate=None, scenarios=None).save(tmp_path / "run")
    assert verify(bare).sentence == "rejected: there is no certificate, so nothing to check"


def test_a_plan_far_off_is_no_proof_whatever_the_tolerance_says(tmp_path):
    verdict = by_hand(tmp_path / "run", paid="4.4", published="440", tolerance=0.5)
    assert (verdict.proved, verdict.gap) == (False, pytest.approx(0.4 / 4.4))


# --- pools ----------------------------------------------------------------------------------------------------------


def test_the_scenarios_are_read_by_scipy_and_numpy(rich, tmp_path):
    folder = rich.save(tmp_path / "run")
    losses = sp.load_npz(folder / "scenarios.npz").toarray()
    np.testing.assert_array_equal(losses, pareto(120, 8, seed=1))
    with np.load(folder / "scenarios.npz") as arrays:
        assert arrays["probabilities"].sum() == pytest.approx(1)
        assert arrays["collateral"].shape == (480,)


def test_a_loaded_calibration_carries_the_proof_along(rich, tmp_path):
    loaded = Calibration.load(rich.save(tmp_path / "one"))
    assert loaded == rich
    again = loaded.save(tmp_path / "two")
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()
    }
    assert verify(again).proved
    loaded.save(tmp_path / "one")  # over the folder it was read from
    assert verify(tmp_path / "one").proved


def test_a_plan_one_percent_off_is_not_called_optimal(tmp_path):
    program = plain_problem().program
    solution = solve_by_tail(program, 1e-6)
    worse = answer(program, dataclasses.replace(solution, x=solution.x * 1.01), 0.5, None)
    worse = dataclasses.replace(worse, certificate={**worse.certificate, "tolerance": 1e-6})
    worse = worse.with_provenance({"tolerance": 1e-6})
    verdict = verify(worse.save(tmp_path / "run"))
    assert not verdict.proved
    assert verdict.gap == pytest.approx(worse.gap, rel=1e-3)
    assert "not optimal" in verdict.sentence


@pytest.mark.parametrize("unit", [1e-18, 1e-6, 1 / 3, 1e9, 1e24])
def test_any_unit(unit, tmp_path):
    scenarios = Scenarios(pareto(150, 4) * unit)
    terms = [CostOfCapital(0.03, 0.05), 0.2 * CVaR(0.9, of="mutualised"), 0.1 * ExpectedLoss()]
    rules = [fairness.ActuarialFairness(0.3), CVaR(0.8) <= 2 * unit, fairness.Budget(20 * unit)]
    calibration = PoolProblem(scenarios, Waterfall(), terms, rules).solve()
    verdict = verify(calibration.save(tmp_path / "run"))
    assert verdict.proved, verdict
    published = [int(text) for text in calibration.certificate["published"]]
    decimals = calibration.certificate["decimals"]
    assert decimals >= 2
    assert Fraction(1, 10**decimals) * 10**12 <= Fraction(sum(published), 10**decimals) * Fraction(1 + 1e-8)


LAYERS = {
    "own": ((OwnContribution(),), 1, "mutualised"),
    "own, pool": ((OwnContribution(), PoolReserve()), 1, "mutualised"),
    "pool": ((PoolReserve(),), 1, "shortfall"),
    "own, segment": ((OwnContribution(), SegmentReserve()), 2, "mutualised"),
    "own, segment, pool": ((OwnContribution(), SegmentReserve(), PoolReserve()), 3, "mutualised"),
    "segment, pool": ((SegmentReserve(), PoolReserve()), 2, "shortfall"),
    "own, pool, two segments": ((OwnContribution(), PoolReserve()), 2, "shortfall"),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("posted", [False, True])
def test_every_waterfall(name, posted, tmp_path):
    layers, segments, of = LAYERS[name]
    rng = np.random.default_rng(8)
    scenarios = Scenarios(
        pareto(150, 3 * segments),
        segments=range(segments),
        probabilities=rng.dirichlet(np.full(150, 0.3)),
        collateral=rng.uniform(0, 1, (150, 3)) if posted else None,
    )
    terms = [CostOfCapital(0.04, 0.05), 0.3 * CVaR(0.93, of=of), 0.2 * CVaR(0.6), 0.1 * ExpectedLoss(of=of)]
    calibration = PoolProblem(scenarios, Waterfall(layers), terms, [fairness.ShareCap(0.7)]).solve()
    verdict = verify(calibration.save(tmp_path / "run"))
    assert verdict.proved, verdict
    assert calibration.certificate["lower_bound"] == pytest.approx(calibration.lower_bound, rel=1e-6)


def test_costs_alone(tmp_path):
    """A program without a risk term: a fund that has to be raised."""
    rules = [fairness.FundFloor(10.0), fairness.ActuarialFairness(0.2)]
    calibration = PoolProblem(Scenarios(pareto(300, 5)), Waterfall(), CostOfCapital(0.1, 0.2), rules).solve()
    assert calibration.objective == pytest.approx(1.0, rel=1e-6)
    verdict = verify(calibration.save(tmp_path / "run"))
    assert verdict.proved, verdict


@pytest.mark.parametrize("problem", [plain_problem, rich_problem])
def test_what_a_solver_claims_of_the_extensive_program_is_proved_afterwards(problem, tmp_path):
    program = problem().program
    solution = solve_extensive(program, 1e-6)
    assert solution.witness is None
    verdict = verify(answer(program, solution, 1e-6, None).save(tmp_path / "run"))
    assert verdict.proved, verdict


def test_what_cannot_be_proved_is_not_published(monkeypatch):
    monkeypatch.setattr("calibrate.program.proof.MOST_ANEW", 0)
    terms = [CostOfCapital(0.03, 0.05), 0.2 * CVaR(0.9, of="mutualised")]
    program = PoolProblem(Scenarios(pareto(200, 5)), Waterfall(), terms).program  # no rule that Clarabel may miss
    with pytest.raises(SolverError, match="the bound on the best is -inf"):
        answer(program, solve_extensive(program, 1e-6), 1e-6, None)


# --- conflicts ------------------------------------------------------------------------------------------------------

EVEN = dict.fromkeys("ABCD", 1.0)
CONFLICTS = {
    "amounts": [fairness.FundFloor(10), fairness.Budget(5)],
    "shares": [fairness.ActuarialFairness(0.1), fairness.Solidarity(1.0, 0.1), fairness.FundFloor(1.0)],
    "cap": [fairness.ShareCap(0.2), fairness.FundFloor(1.0)],
    "risk": [CVaR(0.9) <= 1.0, fairness.Budget(2.0)],
    "mutualised": [CVaR(0.95, of="mutualised") <= 0.5, fairness.AbilityToPay(EVEN), fairness.Budget(1.0)],
    "cone": [fairness.ConcentrationLimit(0.26), fairness.ExposureProportional(0.1), fairness.FundFloor(1.0)],
    "norm": [fairness.GiniLimit(0.01), fairness.ExposureProportional(0.01), fairness.FundFloor(1.0)],
    "defaults": [fairness.CoverK(np.full((2, 4), 10.0), 2), fairness.Budget(5.0)],
    "change": [fairness.Turnover(EVEN, member=0.1), fairness.FundFloor(5.0)],
    "loadings": [fairness.LoadingRatio(1.1), fairness.AbilityToPay({**EVEN, "A": 0.01}), fairness.FundFloor(3.9)],
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_conflict_is_proved(name, tmp_path):
    scenarios = Scenarios(pareto(300, 4) * [1, 2, 3, 4], list("ABCD"))
    exposures = dict(zip("ABCD", [4.0, 3.0, 2.0, 1.0], strict=True))
    terms = [CostOfCapital(0.02, 0.05), 0.1 * CVaR(0.9, of="mutualised")]
    with pytest.raises(RuleConflictError) as told:
        PoolProblem(scenarios, Waterfall(), terms, CONFLICTS[name], exposures=exposures).solve()
    folder = told.value.certificate.save(tmp_path / "conflict")
    verdict = verify(folder)
    assert verdict.proved, verdict
    assert verdict.sentence == f"infeasible, proved: no plan keeps {', '.join(told.value.conflict)}"
    assert verdict.gap is None


def test_a_conflict_that_is_none_is_not_proved(tmp_path):
    scenarios = Scenarios(pareto(300, 4), list("ABCD"))
    with pytest.raises(RuleConflictError) as told:
        PoolProblem(scenarios, Waterfall(), CVaR(0.9), [fairness.FundFloor(10), fairness.Budget(5)]).solve()
    folder = told.value.certificate.save(tmp_path / "conflict")
    body = json.loads((folder / "certificate.json").read_text())
    for block in body["blocks"]:
        for row in block[2]:
            row[1] = abs(row[1]) * 3 if row[1] > 0 else row[1]  # the budget is 15 now: both can be kept
    (folder / "certificate.json").write_text(json.dumps(body))
    digest = hashlib.sha256((folder / "certificate.json").read_bytes()).hexdigest()
    scenarios_line = (folder / "SHA256SUMS").read_text().splitlines()[1]
    (folder / "SHA256SUMS").write_text(f"{digest}  certificate.json\n{scenarios_line}\n")
    assert verify(folder).sentence == "rejected: another contradiction"


@pytest.mark.parametrize("of", ["shortfall", "mutualised"])
def test_a_level_of_zero_is_the_expected_loss(of, tmp_path):
    problem = PoolProblem(Scenarios(pareto(300, 3)), Waterfall(), [CostOfCapital(0.03, 0.05), 0.5 * CVaR(0.0, of=of)])
    problem.solve().save(tmp_path / "run")
    assert verify(tmp_path / "run").proved


def test_prices_a_million_million_apart_are_proved_on_the_integers_too(tmp_path):
    """Last digits of losses cost as much as all contributions: which plans are refused goes with the processor."""
    proved = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        scenarios = Scenarios(rng.pareto(1.6, (300, 3)) * (rng.random((300, 3)) < 0.5))
        problem = PoolProblem(scenarios, Waterfall(), [CostOfCapital(1e-6, 1e3), 1e6 * CVaR(0.99, of="mutualised")])
        with suppress(SolverError):
            proved.append(verify(problem.solve().save(tmp_path / f"run {seed}")).proved)
    assert all(proved)
    assert len(proved) >= 12
