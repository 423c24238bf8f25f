"""Turns what a driver pushes into an iterator, and an iterator into what a driver reads.

Memory stays flat in both directions.
"""

from __future__ import annotations

import enum
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator, Tuple, Union

Piece = Tuple[int, bytes]  # how many records, and their text

CHUNK = 1 << 18  # bytes gathered before they are passed on
PIECES_AHEAD = 4


class _End(enum.Enum):
    """Marks the end of the pieces."""

    end = "end"


_Item = Union[Piece, BaseException, _End]


class _Abandoned(Exception):
    """The reader went away."""


class RecordsFile:
    """A file that passes on what is written to it, one record for each call of `write`."""

    def __init__(self, pass_on: Callable[[Piece], None]) -> None:
        self._pass_on = pass_on
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, record: bytes) -> None:
        """Add a record."""
        self._parts.append(record)
        self._size += len(record)
        if self._size >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Pass on the records gathered so far."""
        if self._parts:
            self._pass_on((len(self._parts), b"".join(self._parts)))
        self._parts, self._size = [], 0


def pulled(push: Callable[[RecordsFile], None]) -> Iterator[Piece]:
    """Yield the records that `push` writes to the file it is given. Raises what `push` raises."""
    waiting: queue.Queue[_Item] = queue.Queue(PIECES_AHEAD)
    abandoned = threading.Event()

    def pass_on(item: _Item) -> None:
        while not abandoned.is_set():
            try:
                return waiting.put(item, timeout=0.2)
            except queue.Full:
                continue
        raise _Abandoned

    def work() -> None:
        file = RecordsFile(pass_on)
        try:
            push(file)
            file.flush()
            pass_on(_End.end)
        except _Abandoned:
            pass
        except BaseException as error:
            if not abandoned.is_set():
                pass_on(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        thread.join()


class PiecesFile:
    """A file to read from, made of pieces; `read` returns one complete piece, of whatever size."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, empty at the end."""
        return next(self._pieces, (0, b""))[1]


def through_pipe(pieces: Iterator[Piece], load: Callable[[str], None]) -> None:
    """Call `load`, in a thread, with a path from which it reads the pieces; no file stores them.

    Raises what it raises. When `pieces` raise, `load` gets those until then, and the caller must
    undo them.
    """
    reading, writing = os.pipe()

    def work() -> None:
        try:
            load(f"/dev/fd/{reading}")
        finally:
            # Whoever is still writing gets a BrokenPipeError instead of waiting forever.
            os.close(reading)

    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(work)
        try:
            for _, text in pieces:
                if not _write_all(writing, text):
                    break
        finally:
            os.close(writing)
    loaded.result()


def _write_all(pipe: int, text: bytes) -> bool:
    """Write everything; False when nobody is reading any more."""
    rest = memoryview(text)
    try:
        while rest:
            rest = rest[os.write(pipe, rest) :]
    except BrokenPipeError:
        return False
    return True
