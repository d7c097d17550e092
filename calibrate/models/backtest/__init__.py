"""Were past forecasts of risk right? Tests with simulated p-values, scores, the model refitted through its history."""

from calibrate.models.backtest.exams import (
    AcerbiSzekelyConditional,
    AcerbiSzekelyUnconditional,
    BacktestResult,
    ChristoffersenCoverage,
    ChristoffersenIndependence,
    ForecastTest,
    Kupiec,
    TrafficLight,
    traffic_light,
)
from calibrate.models.backtest.forecasts import Forecasts
from calibrate.models.backtest.rolling import backtest_table, rolling_forecasts
from calibrate.models.backtest.scores import ScoreComparison, compare_scores, joint_score

__all__ = [
    "AcerbiSzekelyConditional",
    "AcerbiSzekelyUnconditional",
    "BacktestResult",
    "ChristoffersenCoverage",
    "ChristoffersenIndependence",
    "ForecastTest",
    "Forecasts",
    "Kupiec",
    "ScoreComparison",
    "TrafficLight",
    "backtest_table",
    "compare_scores",
    "joint_score",
    "rolling_forecasts",
    "traffic_light",
]
