"""HiGHS greets on standard output when it is first made, whatever it is told; a library prints nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

import highspy

__all__ = ["greeted"]


@cache
def greeted() -> None:
    """Have HiGHS made once with its greeting thrown away; it says nothing the next times."""
    with suppress(OSError):  # a process may have no standard output
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 1)
            highspy.Highs()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)
