"""What all commands share: errors become a sentence and a status, whatever gearbox runs them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from typing import Any, Iterator, NoReturn, Sequence

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def positive_seconds(text: str) -> float:
    """Read a number of seconds above zero; for argparse."""
    with contextlib.suppress(ValueError):
        value = float(text)
        if 0 < value < 86400:
            return value
    raise argparse.ArgumentTypeError("give a number of seconds between 0 and 86400")


class TuneCommand:
    """Mixed into a gearbox `Command`; a subclass has `act(args)`, returning the exit status."""

    app_args: Any
    cmd_name: Any
    instance: Any = None

    @property
    def quiet(self) -> bool:
        """Whether gearbox was given ``-q``."""
        return getattr(self.app_args, "verbose_level", 1) == 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return gearbox's parser; what it complains about goes through the redactor."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]

        def error(message: str) -> NoReturn:
            parser.print_usage(sys.stderr)
            parser.exit(2, f"{parser.prog}: error: {self._redacted(message)}\n")

        parser.error = error  # type: ignore[method-assign]
        return parser

    def act(self, args: Any) -> int:
        """Carry the command out and return its exit status."""
        raise NotImplementedError

    def run(self, args: Any) -> int:
        """Call `act`; leave by SystemExit, since gearbox 0.3.2 throws every returned status
        away.
        """
        prepare_streams()
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._redact_record)
        with interrupted_by_signals():
            status = self._guarded(args)
        if status:
            raise SystemExit(status)
        return 0

    take_action = run

    def _guarded(self, args: Any) -> int:
        from kallithea_tune import errors

        try:
            status = self.act(args)
            with reader_may_leave():
                sys.stdout.flush()
            return status
        except KeyboardInterrupt as error:
            self._complain(" ".join(["interrupted", *map(str, error.args)]))
            return errors.EXIT_INTERRUPTED
        except BrokenPipeError:
            _print_nowhere()
            return errors.EXIT_OK
        except errors.TuneError as error:
            self._complain(str(error))
            return error.exit_status
        except Exception as error:
            if errors.interrupted(error):
                self._complain("interrupted")
                return errors.EXIT_INTERRUPTED
            said = (str(error).strip().splitlines() or [""])[0]
            self._complain(f"unexpected {type(error).__name__}: {said} (--debug shows where)")
            return errors.EXIT_FAILED

    def _complain(self, sentence: str) -> None:
        """Say `sentence` on stderr and in gearbox's log file; with the traceback under
        ``--debug``.
        """
        text = f"gearbox {self.cmd_name}: {sentence}"
        if getattr(self.app_args, "debug", False):
            text = traceback.format_exc() + text
        text = self._redacted(text)
        print(text, file=sys.stderr)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler):
                handler.emit(
                    logging.LogRecord("kallithea_tune", logging.ERROR, "", 0, text, None, None)
                )

    def _redact_record(self, record: logging.LogRecord) -> bool:
        """Redact what any library logs, traceback included; as a filter of gearbox's handlers."""
        said = [
            record.getMessage(),
            *(traceback.format_exception(*record.exc_info) if record.exc_info else ()),
        ]
        record.msg, record.args, record.exc_info = self._redacted("\n".join(said)), (), None
        return True

    def _redacted(self, text: str) -> str:
        from kallithea_tune.config.redact import Redactor

        redactor = self.instance.redactor if self.instance else Redactor()
        result: str = redactor.text(text)
        return result

    def check_columns(self, args: Any, columns: Sequence[str]) -> None:
        """Raise ConfigError for a ``--column`` that is none of `columns`."""
        from kallithea_tune import errors

        for name in args.column:
            if name not in columns:
                raise errors.ConfigError(
                    "there is no column '{}'; the columns are {}".format(name, ", ".join(columns))
                )

    def emit(self, args: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print rows in the asked format, or as a table; an unknown column is the user's error."""
        from kallithea_tune import text

        self.check_columns(args, columns)
        text.emit_list(args.format, columns, rows, args.column, sys.stdout)


def prepare_streams() -> None:
    """Make sure that printing cannot fail for want of a stream or of a character in its
    encoding.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """End what runs inside by KeyboardInterrupt on SIGTERM and SIGHUP too, so that it can clean up
    after itself.
    """

    def interrupt(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # nohup ignores SIGHUP, a shell's "&" SIGINT: that stays.
        before = {
            number: signal.signal(number, interrupt)
            for number in ENDING
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print inside: when the reader of the pipe has gone (``| head``), the rest is dropped and the
    command goes on.

    Raises TuneError when the output cannot be written for another reason.
    """
    from kallithea_tune.errors import TuneError

    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _print_nowhere()
    except OSError as error:
        _print_nowhere()
        raise TuneError(f"the output cannot be written: {error.strerror}") from None


def _print_nowhere() -> None:
    # The interpreter flushes stdout once more when it ends, which must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
