"""Fairness rules: one small class each, one method, `gap(plan)`, fair when <= 0.

Not convex, and therefore not here: equal risk contributions as an equality (use `ActuarialFairness` or `Solidarity`),
pro-rata sharing weights as variables (read `Calibration.weights`), actuarial fairness under pro-rata cuts (state it on
the contributions), a limit on the number of changes (use `Turnover(total=)`).
"""

from calibrate.program.fairness.base import GeneratedRule, Rule
from calibrate.program.fairness.limits import (
    AbilityToPay,
    Budget,
    ConcentrationLimit,
    ContributionFloor,
    CoverK,
    FundFloor,
    Turnover,
)
from calibrate.program.fairness.loadings import CrossSubsidyCap, GiniLimit, GroupParity, LoadingRatio, SimilarMembers
from calibrate.program.fairness.shares import ActuarialFairness, ExposureProportional, ShareCap, Solidarity
from calibrate.program.fairness.standing_alone import CoalitionStability, IndividualRationality, RiskMonotonicity

__all__ = [
    "AbilityToPay",
    "ActuarialFairness",
    "Budget",
    "CoalitionStability",
    "ConcentrationLimit",
    "ContributionFloor",
    "CoverK",
    "CrossSubsidyCap",
    "ExposureProportional",
    "FundFloor",
    "GeneratedRule",
    "GiniLimit",
    "GroupParity",
    "IndividualRationality",
    "LoadingRatio",
    "RiskMonotonicity",
    "Rule",
    "ShareCap",
    "SimilarMembers",
    "Solidarity",
    "Turnover",
]
