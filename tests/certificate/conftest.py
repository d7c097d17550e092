"""Small pools with a certificate, and what an adversary can do to the files."""

import hashlib
import json

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, PoolProblem, PoolReserve, SegmentReserve, Waterfall
from calibrate.program.waterfall import OwnContribution


def reseal(folder):
    """What a careful adversary does after changing a file: all hashes that a file holds of another are made anew."""
    body = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in body["files"]}
    body["files"] = files
    (folder / "certificate.json").write_text(json.dumps(body, ensure_ascii=False) + "\n", encoding="utf-8")
    files["certificate.json"] = hashlib.sha256((folder / "certificate.json").read_bytes()).hexdigest()
    seal = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    (folder / "SHA256SUMS").write_text(seal, encoding="utf-8")


def forge(folder):
    """What the most careful adversary does: the hashes that tie scenarios, certificate and result together as well."""
    body = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    body["scenarios"] = hashlib.sha256((folder / "scenarios.npz").read_bytes()).hexdigest()
    (folder / "certificate.json").write_text(json.dumps(body, ensure_ascii=False) + "\n", encoding="utf-8")
    del body["files"]
    result = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    result["certificate"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (folder / "calibration.json").write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    reseal(folder)


def pareto(n, columns, seed=0, present=0.4):
    rng = np.random.default_rng(seed)
    return rng.pareto(2.2, (n, columns)) * rng.lognormal(0, 0.5, columns) * (rng.random((n, columns)) < present)


def rich_problem():
    """Segments, unequal probabilities, collateral, both kinds of CVaR, a limit, an auxiliary variable, a cone."""
    rng = np.random.default_rng(5)
    scenarios = Scenarios(
        pareto(120, 8, seed=1),
        ["A", "B", "C", "D"],
        ["x", "y"],
        probabilities=rng.dirichlet(np.ones(120)),
        collateral=rng.uniform(0.5, 1, (120, 4)),
    )
    waterfall = Waterfall((OwnContribution(), SegmentReserve(), PoolReserve()))
    terms = [CostOfCapital(0.02, 0.05), 0.3 * CVaR(0.9, of="mutualised"), 0.1 * CVaR(0.7, of="shortfall")]
    rules = [
        fairness.ActuarialFairness(0.5),
        fairness.ConcentrationLimit(0.4),
        fairness.LoadingRatio(2.5),
        CVaR(0.8, of="mutualised") <= 1.5,
    ]
    return PoolProblem(scenarios, waterfall, terms, rules)


def plain_problem():
    """One segment, two CVaR, one band."""
    terms = [CostOfCapital(0.03, 0.05), 0.2 * CVaR(0.9, of="mutualised")]
    return PoolProblem(Scenarios(pareto(200, 5)), Waterfall(), terms, [fairness.ActuarialFairness(0.3)])


@pytest.fixture(scope="session")
def rich():
    return rich_problem().solve()


@pytest.fixture(scope="session")
def plain():
    return plain_problem().solve()
