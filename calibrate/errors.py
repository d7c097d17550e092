"""Everything that can go wrong, one root, split by what the caller can do about it.

Each class carries the exit code of the command line, so that a scheduled job can tell the remedies apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "CalibrateError",
    "ConfigurationError",
    "DataError",
    "IntegrityError",
    "ModelError",
    "ProblemError",
    "RuleConflictError",
    "SolverError",
]


class Savable(Protocol):
    """What can be written to a folder."""

    def save(self, path: str | Path) -> Path:
        """Write it."""


class CalibrateError(Exception):
    """Root of all errors that this package raises on purpose."""

    exit_code = 1


class DataError(CalibrateError, ValueError):
    """The data are wrong: mend the named rows and columns.

    `problems` lists every fault found, one sentence each; the message shows them all.

    >>> print(DataError(["row 3: loss is NaN", "row 7: loss is negative (-2.0)"]))
    2 problems in the data:
      - row 3: loss is NaN
      - row 7: loss is negative (-2.0)
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            lines = "".join(f"\n  - {problem}" for problem in self.problems)
            super().__init__(f"{len(self.problems)} problems in the data:{lines}")


class ConfigurationError(CalibrateError, ValueError):
    """The configuration is wrong: mend the named key."""

    exit_code = 2


class IntegrityError(CalibrateError, ValueError):
    """A saved file was altered, truncated or is missing: restore it or calibrate again."""

    exit_code = 2


class ModelError(CalibrateError, ValueError):
    """The model cannot say what was asked of it with these data: choose another model, a cap, or more data."""

    exit_code = 2


class ProblemError(CalibrateError, ValueError):
    """The program is stated wrongly (unknown member, bad level, unbounded): mend the named term or rule."""

    exit_code = 2


class RuleConflictError(CalibrateError):
    """No plan satisfies all rules: relax one of the named ones.

    `conflict` maps each rule of an irreducible conflicting set (dropping any one of them makes the rest
    satisfiable) to the amount of money by which it has to give in the cheapest relaxation. `certificate` is a proof
    that `verify` checks, once its `save(path)` has written it; None where there is none.
    """

    exit_code = 3

    def __init__(self, message: str, conflict: Mapping[str, float], certificate: Savable | None = None) -> None:
        super().__init__(message)
        self.conflict: dict[str, float] = dict(conflict)
        self.certificate = certificate

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again of all its parts: an error crosses processes as a pickle."""
        return type(self), (str(self), self.conflict, self.certificate)


class SolverError(CalibrateError):
    """No solver reached a proven optimum: every attempt and its status is in the message."""

    exit_code = 4
