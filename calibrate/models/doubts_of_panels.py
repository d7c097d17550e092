"""What a panel cannot tell, in sentences: too few losses, none that scatter, a level that the latest periods moved."""

from __future__ import annotations

import numpy as np

from calibrate.models.arrays import Floats

__all__ = ["moved_flags", "scarcity_flags"]

FEW_DEGREES = 9  # of freedom behind the scatter of all members: what one has in ten periods
FAR = 2.0  # factor between the pool's level and that of the whole history from which it is said
EQUAL = 1e-12  # relative: rounding of a constant ratio


def scarcity_flags(losses: Floats, exposures: Floats) -> tuple[str, ...]:
    """A sentence if no member's losses over exposure (periods, columns) scatter, or if few tell how they do.

    `sum_j max(n[j] - 1, 0)` degrees of freedom, `n[j]` the losses of a column: what is left of them beyond its mean.
    """
    seen = (losses > 0) & (exposures > 0)
    ratios = np.divide(losses, exposures, out=np.zeros_like(losses), where=seen)
    low, high = np.where(seen, ratios, np.inf).min(axis=0), ratios.max(axis=0)
    if not (high > low * (1 + EQUAL))[seen.any(axis=0)].any():
        certain = bool((seen | (exposures == 0)).all())
        left = "scenarios are certain, and the risk that is shown is none" if certain else "only who has one is drawn"
        return (
            "nothing scatters: each member's losses are the same share of its exposure in all periods with a loss; "
            f"{left}. If amounts are planned, averaged or cut off at a limit, give what was lost",
        )
    freedom = int(np.maximum(seen.sum(axis=0) - 1, 0).sum())
    if freedom >= FEW_DEGREES:
        return ()
    return (
        f"{int(seen.sum())} of {seen.size} cells of the panel have a loss, and {freedom} degrees of freedom tell how "
        "losses scatter (losses beyond one of each member): expected losses and their tail may be several times too "
        "large or too small; lengthen the history, join members, or give single events (from_events)",
    )


def moved_flags(level: float) -> tuple[str, ...]:
    """A sentence if the pool's level ahead is far from that of the whole history."""
    if 1 / FAR <= level <= FAR:
        return ()
    return (
        f"the pool's level ahead is {level:.3g} times that of the whole history, because its latest periods were "
        f"{'high' if level > 1 else 'low'}: expected losses are {level:.3g} times as large for it, and a level that "
        "moved is hard to tell from chance; pool_level=KnownLevel() stays with the whole history",
    )
