"""Turns what a driver pushes into an iterator, and an iterator into what a driver reads, so that
memory stays flat.
"""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator

CHUNK = 1 << 18  # bytes gathered before they are handed over
_END: Any = object()


class _Abandoned(Exception):
    """The reader went away."""


class _Writer:
    """A file that hands over what is written to it, one record for each call of `write`."""

    def __init__(self, hand_over: Callable[[Any], None]) -> None:
        self._hand_over = hand_over
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, record: bytes) -> None:
        self._parts.append(record)
        self._size += len(record)
        if self._size >= CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            self._hand_over((len(self._parts), b"".join(self._parts)))
        self._parts, self._size = [], 0


def pulled(push: Callable[[Any], None]) -> Iterator[tuple[int, bytes]]:
    """Yield the records that `push` writes to the file it is given, counted. Raises what `push`
    raises.
    """
    waiting: "queue.Queue[Any]" = queue.Queue(4)
    abandoned = threading.Event()

    def hand_over(item: Any) -> None:
        while not abandoned.is_set():
            try:
                return waiting.put(item, timeout=0.2)
            except queue.Full:
                continue
        raise _Abandoned

    def work() -> None:
        writer = _Writer(hand_over)
        try:
            push(writer)
            writer.flush()
            hand_over(_END)
        except _Abandoned:
            pass
        except BaseException as error:
            if not abandoned.is_set():
                hand_over(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        thread.join()


class Reader:
    """A file to read from, made of pieces; `read` returns the next piece whole, whatever size is
    asked.
    """

    def __init__(self, pieces: Iterator[tuple[int, bytes]]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, empty at the end."""
        return next(self._pieces, (0, b""))[1]


def through_pipe(pieces: Iterator[tuple[int, bytes]], load: Callable[[str], Any]) -> None:
    """Call `load`, in a thread, with a path at which it reads the pieces; no file holds them.
    Raises what it raises.

    When `pieces` raise, `load` gets those until then, and the caller has to take them back.
    """
    reading, writing = os.pipe()

    def work() -> None:
        try:
            load("/dev/fd/%d" % reading)
        finally:
            # Whoever still writes gets a BrokenPipeError instead of waiting forever.
            os.close(reading)

    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(work)
        try:
            for _, text in pieces:
                if not _written(writing, text):
                    break
        finally:
            os.close(writing)
    loaded.result()


def _written(pipe: int, text: bytes) -> bool:
    """Write all of it; False when nobody reads any more."""
    rest = memoryview(text)
    try:
        while rest:
            rest = rest[os.write(pipe, rest) :]
    except BrokenPipeError:
        return False
    return True
