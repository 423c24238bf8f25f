"""A thread whose requests take too long is observed, interrupted, and left behind if need be."""

from __future__ import annotations

import threading
import time
from typing import Callable, Sequence

from kallithea_tune.app.slow_request import OTHER, Interrupted, Observed


def watched(
    requests: "Sequence[Callable[[], object]]", patience: float
) -> "tuple[Observed, list[int]]":
    """Run the requests as the application does; return what was seen, and which of them ended."""
    observed, ended = Observed(), []

    def work() -> None:
        for number, request in enumerate(requests):
            observed.current = number, time.monotonic()
            try:
                request()
                ended.append(number)
            except Interrupted:
                pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    observed.watch(thread, patience, time.monotonic() + 60)
    return observed, ended


def compute() -> None:
    """Never end, in Python, past whatever catches exceptions."""
    while True:
        try:
            sum(range(1000))
        except Exception:
            raise AssertionError from None


def quick() -> None:
    """End at once."""


def test_what_computes_is_interrupted_and_the_next_one_runs() -> None:
    observed, ended = watched([quick, compute, quick], patience=1.2)
    (late,) = observed.unanswered
    assert (late.number, late.work, ended) == (1, OTHER, [0, 2])
    assert late.seconds > 1.2 and sum(late.shares.values()) == 1


def test_what_waits_in_a_call_of_c_is_left_behind() -> None:
    waiting = threading.Lock()
    waiting.acquire()
    observed, ended = watched([waiting.acquire, quick], patience=1.2)
    assert [late.number for late in observed.unanswered] == [0] and ended == []
    waiting.release()


def test_what_ends_in_time_is_no_request_without_an_answer() -> None:
    observed, ended = watched([lambda: time.sleep(1.3)], patience=30)
    assert observed.unanswered == [] and ended == [0]
    ((shares),) = (observed.shares(request) for request in [observed.current] if request)
    assert shares == {OTHER: 1.0}
