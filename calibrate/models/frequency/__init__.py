"""Number of losses in a period: scikit-learn estimators `fit(counts, sample_weight=None, exposure=None)`."""

from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.negative_binomial import NegativeBinomial
from calibrate.models.frequency.poisson import Poisson

__all__ = ["Frequency", "NegativeBinomial", "Poisson"]
