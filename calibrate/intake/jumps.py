"""Changes of unit in a member's losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibrate.intake.values import Floats

__all__ = ["unit_jumps"]

JUMP = 1000.0  # times that a median may change
APART = 0.95  # share of pairs (before, after) in the same order that makes two clouds of one


def unit_jumps(losses: Mapping[str, Floats], confirmed: Sequence[str]) -> list[str]:
    """Members whose losses, in the order of time, change their median more than 1000 times and hardly overlap."""
    found = []
    for member, series in losses.items():
        values = series[series > 0]
        side = min(5, max(2, len(values) // 5))  # losses on each side that make a median
        cuts = _cuts(len(values), side) if len(values) >= 5 and member not in confirmed else []
        jumps = [_jump(values[:cut], values[cut:]) for cut in cuts]
        apart, factor, cut = max(jumps, default=(0.0, 0.0, 0))
        if apart >= APART and factor > JUMP:
            low, high = float(np.median(values[:cut])), float(np.median(values[cut:]))
            found.append(
                f"member {member!r}: the median loss changes {factor:,.0f} times, from {low:g} (first {cut} losses) to "
                f"{high:g}; a change of unit? Mend it, or confirm it by confirm_unit_jumps=[{member!r}]"
            )
    return found


def _cuts(count: int, side: int) -> list[int]:
    """Places to cut: all of few, of many those that grow from both ends."""
    if count <= 100:
        return list(range(side, count - side + 1))
    grown = np.unique(np.geomspace(side, count / 2, 40).astype(int))
    return sorted({int(cut) for cut in (*grown, *(count - grown))})


def _jump(before: Floats, after: Floats) -> tuple[float, float, int]:
    """Share of pairs in the same order, factor between the medians, place."""
    low, high = float(np.median(before)), float(np.median(after))
    rising = float(np.searchsorted(np.sort(before), after).mean()) / len(before)
    factor = max(high / low, low / high)
    apart = max(rising, 1 - rising)
    return (apart if factor > JUMP else 0.0), factor, len(before)
