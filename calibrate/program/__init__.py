"""The optimisation half: plans, waterfalls, risk terms, the program and how it is solved. Knows no distribution."""

from calibrate.program.fairness import Budget
from calibrate.program.plan import Plan, Pool
from calibrate.program.problem import PoolProblem
from calibrate.program.risk import CostOfCapital, CostTerm, CVaR, ExpectedLoss, RiskLimit, RiskTerm, Term
from calibrate.program.waterfall import Layer, OwnContribution, PoolReserve, SegmentReserve, Stage, Waterfall

__all__ = [
    "Budget",
    "CVaR",
    "CostOfCapital",
    "CostTerm",
    "ExpectedLoss",
    "Layer",
    "OwnContribution",
    "Plan",
    "Pool",
    "PoolProblem",
    "PoolReserve",
    "RiskLimit",
    "RiskTerm",
    "SegmentReserve",
    "Stage",
    "Term",
    "Waterfall",
]
