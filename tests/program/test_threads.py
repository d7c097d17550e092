"""Chunks side by side: in order, and in a process that was forked off."""

import os
import signal

import pytest

from calibrate.program.threads import side_by_side


def test_results_come_in_the_order_of_the_chunks():
    assert side_by_side(lambda first, last: (first, last), [0, 3, 5, 9]) == [(0, 3), (3, 5), (5, 9)]
    assert side_by_side(lambda first, last: last - first, [2, 7]) == [5]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    side_by_side(lambda first, last: last, [0, 1, 2])  # the parent's are running
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # rather than wait for ever
        os._exit(sum(side_by_side(lambda first, last: last, [0, 1, 2])))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
