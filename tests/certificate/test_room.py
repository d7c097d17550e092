"""A rule is held as loosely as the bound counts it: by rounding, and by nothing that free money makes large."""

import csv
import io
import json
from fractions import Fraction

import numpy as np
import pytest

from calibrate import Scenarios, fairness, verify
from calibrate.certificate import verifier
from calibrate.errors import RuleConflictError, SolverError
from calibrate.program import Budget, CostOfCapital, CVaR, ExpectedLoss, PoolProblem, Waterfall

from .test_forgery import pool_of, sealed

NOTHING = {"shift": 0, "scenarios": [], "root": [], "group": [], "leaf": []}


def heavy(seed=0):
    return np.random.default_rng(seed).pareto(2.5, (200, 3))


def run(folder, problem):
    """The files of an honest answer."""
    folder = problem.solve().save(folder)
    assert verify(folder).proved, verify(folder)
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def below(value):
    return float(value) if Fraction(float(value)) <= value else float(np.nextafter(float(value), -np.inf))


def restated(files, decisions, multipliers=None, change=lambda body: None):
    """The files with another plan, and every number that is said of it as it should be."""
    files, body = dict(files), json.loads(files["certificate.json"])
    unit = 10 ** body["decimals"]
    body["published"] = [str(int(Fraction(one) * unit)) for one in decisions]
    body["multipliers"] = multipliers or body["multipliers"]
    change(body)
    cells = len(body["members"])
    names = [*body["members"], *body["reserves"]]
    for table, at in (("contributions", slice(cells)), ("reserves", slice(cells, None))):
        head = files[f"{table}.csv"].decode().splitlines()[0]
        rows = [f"{i},{one!r}" for i, one in zip(names[at], decisions[at], strict=True)]
        files[f"{table}.csv"] = "\n".join([head, *rows, ""]).encode()
    members = list(csv.DictReader(io.StringIO(files["members.csv"].decode())))
    total = sum(decisions[:cells]) or 1.0
    for row, one in zip(members, decisions, strict=False):
        row |= {"contribution": repr(one), "weight": repr(one / total)}
    lines = [",".join(members[0]), *(",".join(row.values()) for row in members), ""]
    files["members.csv"] = "\n".join(lines).encode()
    exact = json.loads(json.dumps(body), **verifier.READ)
    pool, x = pool_of(files, exact), [int(one) for one in body["published"]]
    risks = [pool.cvar(t["level"], t["of"], x, Fraction(1, unit)) for t in exact["terms"]]
    values = dict(zip((t["name"] for t in body["terms"]), map(float, risks), strict=True))
    rows = [row.split(",") for row in files["risk.csv"].decode().splitlines()]
    rows = [[row[0], repr(values[row[0]]) if row[0] in values else row[1], *row[2:]] for row in rows]
    files["risk.csv"] = "\n".join([*map(",".join, rows), ""]).encode()
    cost = sum(cost * Fraction(one) for cost, one in zip(exact["costs"], decisions, strict=True))
    objective = cost + sum(t["price"] * risk for t, risk in zip(exact["terms"], risks, strict=True))
    said = json.loads(files["calibration.json"])
    body["objective"] = said["objective"] = float(objective)
    exact["objective"] = Fraction(float(objective))
    body["lower_bound"] = said["lower_bound"] = below(verifier.bound(exact, pool, exact["objective"]))
    return files | {"certificate.json": json.dumps(body).encode(), "calibration.json": json.dumps(said).encode()}


def capped(cap):
    rules = [fairness.ShareCap(cap), fairness.FundFloor(3.0)]
    terms = [CostOfCapital(0.05, 0.05), 0.2 * CVaR(0.9, of="mutualised")]
    return PoolProblem(Scenarios(heavy()), Waterfall(), terms, rules)


def test_money_that_is_free_gives_no_room_to_a_limit(tmp_path):
    """Who never loses may pay 1e14 for nothing; a billionth of that was fifteen times the limit."""
    losses = np.column_stack([heavy(), np.zeros(200)])
    able = fairness.AbilityToPay({"A": 0.1, "B": 0.1, "C": 0.1, "Z": 1e30})
    rules = [CVaR(0.9, of="mutualised") <= 0.5, able]
    files = run(
        tmp_path / "run",
        PoolProblem(Scenarios(losses, ["A", "B", "C", "Z"]), Waterfall(), [CostOfCapital(0, 0.05)], rules),
    )
    for much in (1e10, 1e14):
        verdict = verify(sealed(tmp_path / "lie", restated(files, [0.0, 0.0, 0.0, much, 0.0])))
        assert verdict.sentence == "rejected: CVaR 90% of mutualised <= 0.5 does not hold"


def test_multipliers_make_no_bound_of_what_a_plan_is_forgiven(tmp_path):
    """Shares of a third, nine digits of it, and a fund: a plan was forgiven a billionth, which multipliers were not."""
    files = run(tmp_path / "run", capped(0.34))
    files = {n: c if n == "scenarios.npz" else c.replace(b"0.34", b"0.333333333") for n, c in files.items()}

    def rows(body):
        for name, _, ((row, _),) in body["blocks"]:
            row[:] = [[j, (j == row_of(row)) - 0.333333333] if name.startswith("ShareCap") else [j, a] for j, a in row]

    blocks = json.loads(files["certificate.json"])["blocks"]
    excess = float(1 - 3 * Fraction(0.333333333))
    lies = [[2e15] if name.startswith("ShareCap") else [2e15 * excess] for name, _, _ in blocks]
    multipliers = {"blocks": lies, "limits": [], "flows": [NOTHING]}
    dear = restated(files, [1.0, 1.0, 1.0, 100.0], multipliers, rows)
    assert verify(sealed(tmp_path / "lie", dear)).sentence == "rejected: ShareCap(cap=0.333333333) does not hold"


def row_of(row):
    """Whose share a row caps: the one decision that counts against it."""
    return next(j for j, a in row if a > 0)


def test_rules_that_exclude_each_other_by_a_billionth_are_in_conflict(tmp_path):
    with pytest.raises(RuleConflictError, match=r"(?s)ShareCap\(cap=0.333333333\): by 1.*FundFloor") as told:
        capped(0.333333333).solve()
    told.value.certificate.save(tmp_path / "conflict")
    assert verify(tmp_path / "conflict").sentence.startswith("infeasible, proved")
    with pytest.raises(SolverError, match="exclude each other by a hair"):
        capped(0.33333333333).solve()


def test_a_dear_decision_gives_no_room_to_what_is_said(tmp_path):
    """A reserve at 1e10 a unit, of which there is none: half the objective and no risk at all were believed."""
    terms = [CostOfCapital(0.05, 1e10), 0.2 * CVaR(0.9, of="mutualised")]
    files = run(tmp_path / "run", PoolProblem(Scenarios(heavy()), Waterfall(), terms))
    said = json.loads(files["calibration.json"])
    half = json.dumps(said | {"objective": said["objective"] / 2}).encode()
    verdict = verify(sealed(tmp_path / "half", files | {"calibration.json": half}))
    assert verdict.sentence.startswith(f"rejected: {said['objective'] / 2!r} for 1.05643878")
    rows = [row.split(",") for row in files["risk.csv"].decode().splitlines()]
    rows = [[row[0], "0.0" if row[0] == "CVaR 90% of mutualised" else row[1], *row[2:]] for row in rows]
    none = "\n".join([*map(",".join, rows), ""]).encode()
    assert verify(sealed(tmp_path / "none", files | {"risk.csv": none})).sentence.startswith("rejected: 0.0 for 2.89")


@pytest.mark.parametrize("reserve", [0.0, 10.0, 1000.0])
def test_last_digits_are_not_made_large_by_one_row_after_another(tmp_path, reserve):
    """A third as a double, three times it at least 1, and 1e20 times what it is more: any plan was the best."""
    terms = [CostOfCapital(0.05, 0.05), 0.2 * CVaR(0.9, of="mutualised")]
    rules = [fairness.ContributionFloor(0.0), fairness.ShareCap(0.9)]
    files = run(tmp_path / "run", PoolProblem(Scenarios(heavy()), Waterfall(), terms, rules))

    def rows(body):
        first, second = body["rules"]
        body["blocks"] = [
            [first, "equal", [[[[0, 1.0]], 1 / 3]]],
            [first, "at_most", [[[[0, -3.0]], -1.0]]],
            [second, "at_most", [[[[0, 1e20], [1, -1.0]], 1e20 / 3]]],
            [second, "at_most", [[[[1, 1.0]], 5.0]]],
        ]
        body |= {
            "auxiliary": 0,
            "witness": [],
            "decimals": 18,
            "published": [str(round(Fraction(1 / 3) * 10**18)), "0", "0"],
        }
        body["published"].append(str(int(reserve) * 10**18))

    multipliers = {"blocks": [[0.0], [0.0], [0.0], [1e6]], "limits": [], "flows": [NOTHING]}
    lie = restated(files, [1 / 3, 0.0, 0.0, reserve], multipliers, rows)
    assert not verify(sealed(tmp_path / "lie", lie)).proved


def test_a_column_that_stands_for_nothing_is_told(tmp_path):
    """With a coefficient of zero a row spoke of a reserve of 1e11, and a billionth of that was the fund."""
    terms = [CostOfCapital(0.05, 0.0), 0.2 * CVaR(0.9, of="mutualised")]
    files = run(tmp_path / "run", PoolProblem(Scenarios(heavy()), Waterfall(), terms, [fairness.FundFloor(3.0)]))
    body = json.loads(files["certificate.json"])
    body["blocks"][0][2][0][0].append([3, 0.0])
    lie = sealed(tmp_path / "lie", files | {"certificate.json": json.dumps(body).encode()})
    assert verify(lie).sentence == "rejected: an odd column"


def test_what_is_published_keeps_its_limits(tmp_path):
    """A limit of nothing and a budget that is short of it by a hair: kept to the verifier's digits, or refused."""
    losses, seen = heavy(), set()
    for short in (3e-12, 9e-7, 1e-6):
        budget = Budget(float(losses.sum(axis=1).max()) * (1 - short))
        rules = [ExpectedLoss() <= 0, budget]
        try:
            answer = PoolProblem(Scenarios(losses), Waterfall(), [CostOfCapital(0.05, 0.05)], rules).solve()
        except (RuleConflictError, SolverError) as told:
            seen.add(type(told))
            continue
        verdict = verify(answer.save(tmp_path / f"{short}"))
        assert verdict.proved, verdict
        seen.add("proved")
    assert seen >= {"proved", RuleConflictError}


def test_prices_that_add_up_to_one_and_prices_of_seven_digits(tmp_path):
    x, terms = CVaR(0.9, of="mutualised"), [CostOfCapital(0.05, 0.05)]
    for limit in (0.7 * x + 0.2 * x + 0.1 * x <= 0.05, 49 * ((1 / 49) * x) <= 0.05, 0.1999996 * x <= 0.01):
        files = run(tmp_path / "run", PoolProblem(Scenarios(heavy()), Waterfall(), terms, [limit]))
    assert b"0.1999996 * CVaR 90% of mutualised <= 0.01" in files["certificate.json"]
    rounder = {
        name: files[name].replace(b"0.1999996 * CVaR", b"0.2 * CVaR") for name in files if name != "scenarios.npz"
    }
    assert "is another limit" in verify(sealed(tmp_path / "lie", files | rounder)).sentence


def test_a_currency_of_two_lines_and_a_search_of_no_rule_are_told(tmp_path):
    files = run(tmp_path / "run", capped(0.5))
    for change in ({"currency": "USD\noptimal within 0, proved"}, {"searched": ["everything"]}):
        body = json.dumps(json.loads(files["certificate.json"]) | change).encode()
        said = json.loads(files["calibration.json"])
        said["currency"] = change.get("currency", said["currency"])
        lie = sealed(
            tmp_path / "lie", files | {"certificate.json": body, "calibration.json": json.dumps(said).encode()}
        )
        assert "not one line as it is" in verify(lie).sentence


def test_a_scale_below_zero_makes_no_limit_tighter(tmp_path):
    """A limit that a plan keeps was "infeasible, proved": nothing had looked at the scale of a conflict."""
    limit = CVaR(0.9, of="mutualised") <= 0.5
    problem = PoolProblem(Scenarios(heavy()), Waterfall(), [CostOfCapital(0.05, 0.05)], [limit, Budget(0.001)])
    with pytest.raises(RuleConflictError) as told:
        problem.solve()
    told.value.certificate.save(tmp_path / "conflict")
    assert verify(tmp_path / "conflict").proved
    files = {one.name: one.read_bytes() for one in (tmp_path / "conflict").iterdir()}
    body = json.loads(files["certificate.json"])
    body["limits"] = [one for one in body["limits"] if one["name"] == str(limit)]
    body |= {"rules": [str(limit)], "blocks": [], "scale": -1e30}
    body["multipliers"] = {"blocks": [], "limits": [1.0], "flows": [NOTHING] * len(body["terms"])}
    exact = json.loads(json.dumps(body), **verifier.READ)
    assert verifier.bound(exact, pool_of(files, exact), None) <= 0


def test_an_objective_that_rewards_risk_is_told(tmp_path):
    terms = [CostOfCapital(0.05, 0.05), CVaR(0.9, of="mutualised"), ExpectedLoss(of="mutualised")]
    rules = [fairness.FundFloor(0.01), CVaR(0.9, of="mutualised") <= 9]
    files = run(tmp_path / "run", PoolProblem(Scenarios(heavy()), Waterfall(), terms, rules))

    def rewarded(body):
        for term in body["terms"]:
            term["price"] = -1.0 if term["level"] > 0 else term["price"]

    multipliers = {"blocks": [[1e6]], "limits": [1.0], "flows": [NOTHING] * 2}
    with pytest.raises(ValueError, match="another term"):
        restated(files, [0.01, 0.0, 0.0, 0.0], multipliers, rewarded)


def test_a_risk_that_stands_twice_in_a_limit_is_told(tmp_path):
    """Twice a CVaR is at most .5: its name said once."""
    problem = PoolProblem(
        Scenarios(heavy()), Waterfall(), [CostOfCapital(0.05, 0.05)], [CVaR(0.9, of="mutualised") <= 0.25]
    )
    files = run(tmp_path / "run", problem)
    files = {n: c if n == "scenarios.npz" else c.replace(b"<= 0.25", b"<= 0.5") for n, c in files.items()}
    body = json.loads(files["certificate.json"])
    (term,), (limit,), (flow,) = body["terms"], body["limits"], body["multipliers"]["flows"]
    limit["row"][1] *= 2
    limit["risks"] *= 2
    body["terms"] = [term, term]
    body["multipliers"] |= {
        "limits": [body["multipliers"]["limits"][0] / 2],
        "flows": [flow | {"shift": flow["shift"] + 1}] * 2,
    }
    lie = sealed(tmp_path / "lie", files | {"certificate.json": json.dumps(body).encode()})
    assert "is another limit" in verify(lie).sentence
