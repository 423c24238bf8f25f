"""A generator that runs in a copy of this process, so that both use a processor of their own.

Threads would take turns: SQLite takes a lock for each piece of memory, and Python one for each call
of a function.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
from multiprocessing.connection import Connection, Pipe
from typing import Callable, Generic, Iterator, NoReturn, Tuple, TypeVar, Union

from kallithea_tune.errors import TuneError
from kallithea_tune.system import interruption
from kallithea_tune.system.bootstrap import die_with_parent

T = TypeVar("T")

# Added to the niceness of the copy, so that this process and the server that it feeds come first.
# With two processors a migration of 1,000,000 rows to PostgreSQL takes 0.85 of the time with 10.
PATIENCE = 10

# What the copy sends: an item, what the generator raised, or nothing at its end.
_Message = Union[Tuple[T], BaseException, None]


class Forked(Generic[T]):
    """Iterates what `work()` yields, which may be far ahead; it is pickled, and all of it is kept.

    What the generator raises is raised here. `work` may use connections that were opened before,
    and nothing else may use those. The copy ends with this process, however that ends.
    """

    def __init__(self, work: Callable[[], Iterator[T]]) -> None:
        receiving, sending = Pipe(duplex=False)
        parent = os.getpid()
        self._process = os.fork()
        if not self._process:
            _work(work, sending, parent)
        sending.close()
        self._arrived: queue.SimpleQueue[_Message[T]] = queue.SimpleQueue()
        self._ended = False
        self._receiver = threading.Thread(target=self._receive, args=(receiving,), daemon=True)
        self._receiver.start()

    def _receive(self, receiving: Connection) -> None:
        with receiving, contextlib.suppress(EOFError, OSError):
            while True:
                message: _Message[T] = receiving.recv()
                self._arrived.put(message)
                if not isinstance(message, tuple):
                    self._ended = True
                    return
        self._arrived.put(TuneError("the second process of this command was killed"))

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        message = self._next_message()
        if isinstance(message, tuple):
            return message[0]
        # For whoever tries again.
        self._arrived.put(message)
        raise StopIteration if message is None else message

    def _next_message(self) -> _Message[T]:
        while True:
            interruption.check()
            with contextlib.suppress(queue.Empty):
                return self._arrived.get(timeout=interruption.AGAIN)

    @property
    def has_next(self) -> bool:
        """Whether something has arrived, be it the end, so that nobody has to wait for it."""
        return not self._arrived.empty()

    def kill(self) -> bool:
        """End the copy, and wait until it is gone; False where it had come to its end."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        self._receiver.join()
        return not self._ended


def _work(work: Callable[[], Iterator[T]], sending: Connection, parent: int) -> NoReturn:
    try:
        die_with_parent()
        os.nice(PATIENCE)
        if os.getppid() == parent:
            for item in work():
                sending.send((item,))
            sending.send(None)
    except BaseException as error:
        with contextlib.suppress(Exception):
            sending.send(_picklable(error))
    finally:
        # Nothing of the parent's is closed or printed here.
        os._exit(0)


def _picklable(error: BaseException) -> BaseException:
    """Return the error, or one that says its kind where it would not arrive."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return TuneError(f"the second process of this command failed with {type(error).__name__}")
    return error
