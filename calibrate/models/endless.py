"""Losses without a variance and without a cap: what scenarios of them look like is a matter of luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.forms import tail_index
from calibrate.models.open_parameters import OpenParameters
from calibrate.models.process import Process
from calibrate.precision import HEAVIEST

__all__ = ["endless_flags", "endless_losses"]

OFTEN = 0.05  # of the laws: fewer hardly show in a sample


def endless_losses(process: Process, exposures: Floats, segments: Sequence[str]) -> str:
    """Which losses of events have no variance and no cap, by more than one in twenty of the laws that scenarios are
    drawn by; empty if none. A sample of them may look harmless by luck: its own tail does not tell.
    """
    laws = [node.margins for node in process.nodes] if isinstance(process, OpenParameters) else [process.margins]
    events = [each for each in laws if isinstance(each, Collective)]
    found = [_heavy(each, exposures, segments) for each in events]
    heavy = [each for each in found if each]
    if len(heavy) <= OFTEN * len(events):
        return ""
    names = [name for name in segments if any(name in each for each in heavy)]
    what = "losses" if len(segments) == 1 else f"losses of {', '.join(names)}"
    told = (
        f"{what} without cap have a tail index of up to {max(max(each.values()) for each in heavy):.2f}, so no variance"
    )
    return told if len(events) == 1 else f"by {len(heavy)} of {len(events)} models that the history allows, {told}"


def endless_flags(process: Process, exposures: Floats, segments: Sequence[str]) -> tuple[str, ...]:
    """A sentence on them, and what to do."""
    told = endless_losses(process, exposures, segments)
    if not told:
        return ()
    return (
        f"{told}: the tail of scenarios, and near an index of 1 their mean, rests on the few largest losses that a "
        "seed happens to draw. Use the expected losses of the summary, look at several seeds, and cap losses if "
        "something does (exposure_cap, or the limit of the coverage)",
    )


def _heavy(collective: Collective, exposures: Floats, segments: Sequence[str]) -> dict[str, float]:
    """Tail index of the segments of which a loss has no variance and, for some member, no cap."""
    caps, means = collective.caps(exposures), collective.means(exposures)
    endless = np.isinf(caps) & np.isinf(collective.terms.limit)[:, None] & (means > 0)
    found = {}
    for g, part in enumerate(collective.segments):
        index = tail_index(part.sizes.law) * float(part.sizes.forms.power[endless[:, g]].max(initial=0.0))
        if index > HEAVIEST:
            found[segments[g]] = index
    return found
