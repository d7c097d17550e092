"""Size of one loss: scikit-learn estimators `fit(x, sample_weight=None)`, unit-free, honest about their tails."""

from calibrate.models.severity.base import Severity
from calibrate.models.severity.burr import Burr
from calibrate.models.severity.empirical import Empirical
from calibrate.models.severity.gamma import Gamma
from calibrate.models.severity.generalized_pareto import GeneralizedPareto
from calibrate.models.severity.lognormal import LogNormal
from calibrate.models.severity.observation import Observation
from calibrate.models.severity.pareto import Pareto
from calibrate.models.severity.selection import AIC, BIC, BestOf, LogScore
from calibrate.models.severity.spliced import Spliced
from calibrate.models.severity.threshold import (
    DownwardThreshold,
    QuantileThreshold,
    SequentialThreshold,
    ThresholdRule,
    threshold_table,
)
from calibrate.models.severity.weibull import Weibull

__all__ = [
    "AIC",
    "BIC",
    "BestOf",
    "Burr",
    "DownwardThreshold",
    "Empirical",
    "Gamma",
    "GeneralizedPareto",
    "LogNormal",
    "LogScore",
    "Observation",
    "Pareto",
    "QuantileThreshold",
    "SequentialThreshold",
    "Severity",
    "Spliced",
    "ThresholdRule",
    "Weibull",
    "threshold_table",
]
