"""The fairness rules, where users look for them: `from calibrate import fairness; fairness.ShareCap(0.2)`."""

from calibrate.program.fairness import *  # noqa: F403
from calibrate.program.fairness import __all__ as __all__
