"""Remembers a request to end (SIGINT, SIGTERM, SIGHUP); the work stops itself at its next step.

An exception raised by a signal handler is lost where Python ignores exceptions, as in callbacks of
weak references, so the handlers only remember. A thread wakes what the work is waiting for, even
where the wait is in C code, which runs no Python handler until it returns.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, NoReturn, Optional, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import FrameType

T = TypeVar("T")

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Makes a system call of the main thread return; by default, and in children, it does nothing.
NUDGE = signal.SIGURG
# Seconds, all our judgement: between two calls of the wakers, since what they wake may have begun
# to wait just after the first; until work that does not look is interrupted by an exception after
# all; and after which one more signal ends the process at once.
AGAIN, UNNOTICED, PATIENCE = 0.1, 2.0, 10.0
INTERRUPTED = 130


class _State:
    """What was requested, and how to wake whom; one for each command that a process runs."""

    def __init__(self) -> None:
        self.handlers: dict[signal.Signals, Any] = {}
        self.noted = False  # by the handler, which must not wait for the lock of the event
        self.event = threading.Event()
        self.noticed = False
        self.forced = False
        self.lock = threading.Lock()
        self.wakers: list[tuple[int, Callable[[], object]]] = []
        self.deferring: set[int] = set()

    @property
    def requested(self) -> bool:
        """Whether the end was requested, be it deferred or not."""
        return self.noted or self.event.is_set()

    def wake(self) -> None:
        """Call the wakers of the threads that do not defer."""
        with self.lock:
            for thread, wake in self.wakers:
                if thread not in self.deferring:
                    with contextlib.suppress(Exception):
                        wake()


_state = _State()


def requested() -> bool:
    """Whether the end was requested."""
    return _state.requested and threading.get_ident() not in _state.deferring


def check() -> None:
    """Raise KeyboardInterrupt when the end was requested: at each step, before each last one."""
    if requested():
        if threading.current_thread() is threading.main_thread():
            _state.noticed = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def waking(wake: Callable[[], object]) -> Iterator[None]:
    """Inside, call `wake` in another thread as soon as the end is requested, and then repeatedly.

    `wake` makes a blocking call return or fail: it kills a child, cancels a query. Raises
    KeyboardInterrupt at the end, whatever the blocking call did, when the end was requested.
    """
    state, entry = _state, (threading.get_ident(), wake)
    with state.lock:
        state.wakers.append(entry)
    try:
        check()
        yield
    finally:
        with state.lock:
            state.wakers.remove(entry)
        check()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, this thread behaves as if nothing had been requested.

    For cleaning up, and for what must be done completely or not at all; it has to be short.
    """
    state, thread = _state, threading.get_ident()
    # Waits for a waker that is being called.
    with state.lock:
        outer = thread in state.deferring
        state.deferring.add(thread)
    try:
        yield
    finally:
        if not outer:
            state.deferring.discard(thread)


def sleep(seconds: float) -> None:
    """Wait; raise KeyboardInterrupt as soon as the end is requested."""
    check()
    if threading.get_ident() in _state.deferring:
        time.sleep(seconds)
    else:
        _state.event.wait(seconds)
    check()


def result_of(future: Future[T]) -> T:
    """Return the result of `future`; raise KeyboardInterrupt as soon as the end is requested."""
    from concurrent.futures import TimeoutError as StillRunning

    while True:
        check()
        try:
            return future.result(AGAIN)
        except StillRunning:
            if future.done():
                return future.result()


def abandonable(work: Callable[[], T]) -> T:
    """Return `work()`, done in a thread that is left alone when the end is requested.

    For what nothing can wake, such as a driver that is connecting.
    """
    from concurrent.futures import Future

    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result_of(outcome)


def wait_readable(descriptor: int) -> None:
    """Wait until there is something to read; as `sleep` does."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    check()
    while not poll.poll(AGAIN * 1000):
        check()


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Inside, signals that end a process are remembered, for the functions above.

    Those that are ignored (by nohup, or a shell's ``&``) stay so. Raises KeyboardInterrupt at the
    end when the end was requested. Does nothing outside of the main thread, where Python handles
    no signals.
    """
    global _state
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    state = _state = _State()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # C code writes the number of a signal here at once, whatever the main thread is doing.
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in ENDING:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            state.handlers[number] = signal.signal(number, _remember)
    state.handlers[NUDGE] = signal.signal(NUDGE, _interrupt_if_forced)
    watcher = threading.Thread(target=_watch, args=(state, reading), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        os.write(writing, b"\0")
        watcher.join(1)
        if not watcher.is_alive():
            os.close(reading)
            os.close(writing)
        for number, handler in state.handlers.items():
            signal.signal(number, handler)
        _state = _State()
    if state.requested:
        raise KeyboardInterrupt


def _remember(number: int, frame: Optional[FrameType]) -> None:
    _state.noted = True


def _interrupt_if_forced(number: int, frame: Optional[FrameType]) -> None:
    if _state.forced and not _state.noticed and requested():
        check()


def _watch(state: _State, reading: int) -> None:
    """Record the request, wake those who wait, and end what does not end; in a thread."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    since = 0.0
    while True:
        arrived = poll.poll(AGAIN * 1000 if since else None)
        numbers = os.read(reading, 512) if arrived else b""
        if 0 in numbers:
            return
        if any(number in numbers for number in ENDING):
            if since and time.monotonic() - since > PATIENCE:
                _end_at_once()
            since = since or time.monotonic()
            state.event.set()
        if since:
            state.wake()
            state.forced = time.monotonic() - since > UNNOTICED
            if state.forced and not state.noticed:
                signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)


def _end_at_once() -> NoReturn:
    os._exit(INTERRUPTED)


def _forget() -> None:
    """Have a process that was forked end by signals as it would without us."""
    global _state
    forgotten, _state = _state, _State()
    if forgotten.handlers:
        signal.set_wakeup_fd(-1)
        for number, handler in forgotten.handlers.items():
            signal.signal(number, handler)


os.register_at_fork(after_in_child=_forget)
