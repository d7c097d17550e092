"""Linear algebra is held to one thread from whichever thread it is asked for, and let go of by the last user."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from calibrate.one_thread import ONE_THREAD


def threads():
    """Of each library of linear algebra."""
    return {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def inside(barrier=None):
    with ONE_THREAD:
        if barrier is not None:
            barrier.wait(10)
        return set(threads().values())


def test_any_thread_may_ask_for_one_thread_and_all_of_them_get_it():
    """One that came after the main thread had asked was not heeded: blocks drawn there had other last digits."""
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        assert inside() == {1}
        with ThreadPoolExecutor(2) as pool:
            assert pool.submit(inside).result() == {1}
            assert threads() == before
            together = Barrier(2)
            assert [one.result() for one in [pool.submit(inside, together) for _ in range(2)]] == [{1}, {1}]
            with ONE_THREAD:
                assert pool.submit(inside).result() == {1}
                assert set(threads().values()) == {1}
        assert threads() == before
