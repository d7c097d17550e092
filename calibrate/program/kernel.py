"""Compiled loops, typed: numba's decorators hide the signatures from a type checker, these keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["inlined", "kernel", "parallel_kernel"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compiled at the first call and kept on disk; runs beside other threads."""
    return cast(F, njit(cache=True, nogil=True)(function))


def inlined(function: F) -> F:
    """A kernel written into its callers."""
    return cast(F, njit(cache=True, inline="always")(function))


def parallel_kernel(function: F) -> F:
    """A kernel whose outer loop runs on all cores; every entry of its result is computed by one of them alone.

    Sums within a row may be reordered to use wide registers, the same way for any number of cores.
    """
    return cast(F, njit(cache=True, parallel=True, fastmath={"reassoc", "contract"})(function))
