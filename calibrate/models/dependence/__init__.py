"""How losses move together: scikit-learn estimators `fit(losses, sample_weight=None)` of copulas, by ranks only."""

from calibrate.models.dependence.base import Dependence
from calibrate.models.dependence.gaussian import Gaussian
from calibrate.models.dependence.grouped_t import GroupedT
from calibrate.models.dependence.independent import Independent
from calibrate.models.dependence.student_t import StudentT
from calibrate.models.dependence.vine import Vine

__all__ = ["Dependence", "Gaussian", "GroupedT", "Independent", "StudentT", "Vine"]
