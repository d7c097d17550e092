"""Numbers of others as doubles, without what a conversion would drop in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["UNREAL", "real"]

UNREAL = (TypeError, ValueError, OverflowError)  # what a conversion raises


def real(values: Any) -> npt.NDArray[np.float64]:
    """A copy as doubles; one of `UNREAL` for masks, complex numbers, dates and other things.

    >>> real([1, 2]).tolist()
    [1.0, 2.0]
    """
    if np.ma.is_masked(values):
        raise TypeError(
            f"{np.count_nonzero(np.ma.getmask(values))} of them masked; give each a number, as filled(0.0) does"
        )
    held = values if isinstance(values, pd.DataFrame | pd.Series) else np.asarray(values)
    kinds = {one.kind for one in (held.dtypes if isinstance(held, pd.DataFrame) else [held.dtype])}
    if "c" in kinds:
        raise TypeError("they are complex; give real ones")
    if kinds & set("mM"):
        raise TypeError("they are dates or spans of time; give numbers")
    return np.array(values, dtype=np.float64)
