"""Compiled loops, typed: numba's decorators hide the signatures from a type checker, these keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["inlined", "kernel", "sweep_kernel"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compiled at the first call and kept on disk; runs beside other threads. Divides by zero as numpy does."""
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """A kernel written into its callers."""
    return cast(F, njit(cache=True, inline="always")(function))


def sweep_kernel(function: F) -> F:
    """A kernel over rows that do not depend on each other: any split of them over threads gives the same bytes.

    Sums within a row may be reordered to use wide registers, the same way for every split.
    """
    return cast(F, njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function))
