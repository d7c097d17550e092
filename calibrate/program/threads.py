"""Work on chunks side by side: kernels let go of the interpreter, so plain threads do."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from numba import get_num_threads

__all__ = ["side_by_side"]

T = TypeVar("T")


def side_by_side(work: Callable[[int, int], T], ends: list[int]) -> list[T]:
    """`work(first, last)` of every chunk between consecutive `ends`, in order; kernels let go of the interpreter."""
    pairs = list(pairwise(ends))
    if len(pairs) == 1:
        return [work(*pairs[0])]
    return list(_threads(get_num_threads()).map(lambda pair: work(*pair), pairs))


@lru_cache(maxsize=4)
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="calibrate")


if hasattr(os, "register_at_fork"):  # a forked child has the pool but not its threads, and would wait for ever
    os.register_at_fork(after_in_child=_threads.cache_clear)
