"""Where the law of a segment's losses comes from, and what these say against it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.models.arrays import Floats
from calibrate.models.severity import Severity

__all__ = ["bounds", "missed"]

REFUTED = 1.63  # Kolmogorov's distance times the root of the number of losses


def missed(law: Severity, losses: Floats, level: float = 1.0, power: float = 1.0) -> str:
    """Where a law, `level X^power`, is refuted by losses whose level, or more, it has (Kolmogorov 1933, at 1 %;
    estimates make it rarer)."""
    points, count = np.unique(losses, return_counts=True)
    above = 1 - np.cumsum(count) / losses.size
    fitted = np.asarray(law.sf(points if level == power == 1 else (points / level) ** (1 / power)))
    apart = np.maximum(np.abs(above - fitted), np.abs(above + count / losses.size - fitted))
    if not law.has_density_ or points.size < losses.size / 2 or apart.max() * losses.size**0.5 <= REFUTED:
        return ""
    k = int(np.argmax(apart))
    return (
        f"{type(law).__name__} misses losses of its own: of a member of the segment's scale {above[k]:.0%} lie above "
        f"{points[k]:.3g} (money), fitted {fitted[k]:.0%}; where layers there matter, ask for Spliced(body=Empirical())"
    )


def bounds(at_least: npt.NDArray[np.bool_]) -> str:
    """How many losses are known only to be at least so large."""
    count = int(at_least.sum())
    if not count:
        return ""
    return (
        f"{count} of {at_least.size} losses are known only to be at least as large as they are, and are taken for cut "
        "off wherever they would have ended, as limits do; what is paid to date of open claims goes with their size, "
        "and makes sizes too large (by a sixth in trials): give what they are thought to come to"
    )
