"""Number of losses in a period: scikit-learn estimators `fit(counts, sample_weight=None, exposure=None)`."""

from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.drifting import Drifting
from calibrate.models.frequency.hawkes import Hawkes
from calibrate.models.frequency.log_linear import LogLinear
from calibrate.models.frequency.model import CountModel, Open
from calibrate.models.frequency.negative_binomial import NegativeBinomial
from calibrate.models.frequency.poisson import Poisson
from calibrate.models.frequency.reshaped import Elastic, Reshaped, Trend
from calibrate.models.frequency.shared_shock import SharedShock
from calibrate.models.frequency.zero_inflated import ZeroInflated

__all__ = [
    "CountModel",
    "Drifting",
    "Elastic",
    "Frequency",
    "Hawkes",
    "LogLinear",
    "NegativeBinomial",
    "Open",
    "Poisson",
    "Reshaped",
    "SharedShock",
    "Trend",
    "ZeroInflated",
]
