"""Loss models, from a history to joint scenarios: the module says the kind, the class the member (`severity.Gamma`)."""

from calibrate.models import (
    aggregate,
    backtest,
    coverage,
    credibility,
    dependence,
    enrichment,
    frequency,
    pool_level,
    ratio,
    severity,
    stress,
    uncertainty,
)
from calibrate.models.comparison import compare
from calibrate.models.coverage import Coverage
from calibrate.models.joint import JointLossModel
from calibrate.models.ratio import EmpiricalRatio, GammaRatio, GeneralizedGammaRatio, LogNormalRatio
from calibrate.models.tails import tail_table

__all__ = [
    "Coverage",
    "EmpiricalRatio",
    "GammaRatio",
    "GeneralizedGammaRatio",
    "JointLossModel",
    "LogNormalRatio",
    "aggregate",
    "backtest",
    "compare",
    "coverage",
    "credibility",
    "dependence",
    "enrichment",
    "frequency",
    "pool_level",
    "ratio",
    "severity",
    "stress",
    "tail_table",
    "uncertainty",
]
