"""Contributions and reserves of a risk pool: loss models, tail-risk optimisation, fairness rules, and a proof.

The names below are loaded when first used, so that the command line answers `--help` without the optimiser.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calibrate import errors, fairness, models, program
    from calibrate.calibration import Calibration
    from calibrate.calibrator import PoolCalibrator
    from calibrate.certificate import verify
    from calibrate.history import LossHistory
    from calibrate.models import JointLossModel
    from calibrate.scenarios import Scenarios

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "JointLossModel",
    "LossHistory",
    "PoolCalibrator",
    "Scenarios",
    "errors",
    "fairness",
    "models",
    "program",
    "verify",
]

_HOMES = {
    "Calibration": "calibrate.calibration",
    "JointLossModel": "calibrate.models",
    "LossHistory": "calibrate.history",
    "PoolCalibrator": "calibrate.calibrator",
    "Scenarios": "calibrate.scenarios",
    "verify": "calibrate.certificate",
}
_MODULES = ("errors", "fairness", "models", "program")


logging.getLogger("calibrate").addHandler(logging.NullHandler())  # the application decides what is shown


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"calibrate.{name}")
    raise AttributeError(f"module 'calibrate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
