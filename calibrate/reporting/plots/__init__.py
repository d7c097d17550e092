"""Figures for notebooks and the page. Each function returns a Figure; no state, no window, no file.

Of a calibration: `contributions`, `loss_curve`, `risk`, `moves`, `uncertainty`. Of a model: `mean_excess` and
`parameter_stability` (where a tail begins), `tail` (how well it fits), `time_rescaling` (events), `backtest` (what was
forecast, what came).
"""

from calibrate.reporting.plots.answer import SHOWN, contributions, loss_curve, moves, risk, uncertainty
from calibrate.reporting.plots.forecasts import backtest, time_rescaling
from calibrate.reporting.plots.tails import mean_excess, parameter_stability, tail

__all__ = [
    "SHOWN",
    "backtest",
    "contributions",
    "loss_curve",
    "mean_excess",
    "moves",
    "parameter_stability",
    "risk",
    "tail",
    "time_rescaling",
    "uncertainty",
]
