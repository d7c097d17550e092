"""Linear algebra on one thread: a product's bytes may depend on its number of threads, and small ones are slower so."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import Any

import scipy.linalg  # noqa: F401 (its library must be there when libraries are looked for)
from threadpoolctl import ThreadpoolController

__all__ = ["ONE_THREAD"]


class _OneThread:
    """One thread from when the first user enters until the last one leaves, whichever threads they are on."""

    def __init__(self) -> None:
        self.lock, self.users = Lock(), 0
        self.limits: Any = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.users:
                self.limits = _unheld().limit(limits=1, user_api="blas")
            self.users += 1

    def __exit__(self, *failure: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                _unheld()
                self.limits.restore_original_limits()
                _unheld()


def _unheld() -> ThreadpoolController:
    """The libraries, free to be set by any thread: since 3.8 threadpoolctl heeds the first one that set them alone."""
    for library in _libraries().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
    return _libraries()


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """Looked for once: a millisecond, as long as a small program takes to be compiled."""
    return ThreadpoolController()


ONE_THREAD = _OneThread()
