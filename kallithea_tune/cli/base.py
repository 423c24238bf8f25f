"""What our commands have in common: their result and their errors, whichever gearbox runs them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Iterator, NoReturn, Optional, Sequence

from kallithea_tune.text import printable

if TYPE_CHECKING:
    from types import FrameType

    from kallithea_tune.config.instance import Instance

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FORMATS = ("table", "json", "yaml", "csv", "value")


def positive_seconds(text: str) -> float:
    """Read a number of seconds above zero; for argparse."""
    with contextlib.suppress(ValueError):
        value = float(text)
        if 0 < value < 86400:
            return value
    raise argparse.ArgumentTypeError("give a number of seconds between 0 and 86400")


class Once(argparse.Action):
    """An option that may be given once: argparse would ignore all but the last."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: Optional[str] = None,
    ) -> None:
        """Set the option. Raises ArgumentError where it is set already."""
        if getattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "it is given twice")
        setattr(namespace, self.dest, values)


def add_ini_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument(
        "-c", "--config", action=Once, metavar="INI", help="the ini file, or INI#application"
    )


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--format`` and ``--column``, which `TuneCommand.emit` reads."""
    parser.add_argument("-f", "--format", choices=FORMATS, help="for machines, instead of text")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME",
        help="print this column only (repeatable, with -f)",
    )


class TuneCommand:
    """Mixed into a gearbox `Command`; a subclass has `act(args)`, which returns the exit status."""

    app_args: Optional[argparse.Namespace]
    cmd_name: str
    instance: Instance  # once it is loaded

    @property
    def quiet(self) -> bool:
        """Whether gearbox was given ``-q``."""
        return getattr(self.app_args, "verbose_level", 1) == 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return gearbox's parser; its error messages go through the redactor."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]

        def error(message: str) -> NoReturn:
            parser.print_usage(sys.stderr)
            parser.exit(2, f"{parser.prog}: error: {printable(self._redacted(message))}\n")

        setattr(parser, "error", error)  # noqa: B010
        return parser

    def act(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit status."""
        raise NotImplementedError

    def run(self, args: argparse.Namespace) -> int:
        """Call `act`; exit by SystemExit, since gearbox 0.3.2 ignores every returned status."""
        prepare_streams()
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._redact_record)
        with interrupted_by_signals():
            status = self._guarded(args)
        if status:
            raise SystemExit(status)
        return 0

    take_action = run

    def _guarded(self, args: argparse.Namespace) -> int:
        from kallithea_tune import errors

        try:
            status = self.act(args)
            with reader_may_leave():
                sys.stdout.flush()
            return status
        except KeyboardInterrupt as error:
            self._log_error(" ".join(["interrupted", *map(str, error.args)]))
            return errors.EXIT_INTERRUPTED
        except BrokenPipeError:
            _discard_output()
            return errors.EXIT_OK
        except errors.TuneError as error:
            self._log_error(str(error))
            return error.exit_status
        except Exception as error:
            if errors.interrupted(error):
                self._log_error("interrupted")
                return errors.EXIT_INTERRUPTED
            message = (str(error).strip().splitlines() or [""])[0]
            self._log_error(f"unexpected {type(error).__name__}: {message} (--debug shows where)")
            return errors.EXIT_FAILED

    def _log_error(self, message: str) -> None:
        """Print `message` to stderr and gearbox's log file, with a traceback under ``--debug``."""
        text = printable(self._redacted(f"gearbox {self.cmd_name}: {message}"))
        if getattr(self.app_args, "debug", False):
            text = printable(self._redacted(traceback.format_exc()), lines=True) + text
        print(text, file=sys.stderr)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler):
                handler.emit(
                    logging.LogRecord("kallithea_tune", logging.ERROR, "", 0, text, None, None)
                )

    def _redact_record(self, record: logging.LogRecord) -> bool:
        """Redact what any library logs, traceback included; a filter for gearbox's handlers."""
        lines = [printable(self._redacted(record.getMessage()))]
        if record.exc_info:
            raised = "".join(traceback.format_exception(*record.exc_info))
            lines.append(printable(self._redacted(raised), lines=True))
        record.msg, record.args, record.exc_info = "\n".join(lines), (), None
        return True

    def _redacted(self, text: str) -> str:
        from kallithea_tune.config.redact import Redactor

        instance: Optional[Instance] = getattr(self, "instance", None)
        redactor = instance.redactor if instance else Redactor()
        return redactor.text(text)

    def check_columns(self, args: argparse.Namespace, columns: Sequence[str]) -> None:
        """Raise ConfigError for a ``--column`` that is not among `columns`."""
        from kallithea_tune import errors

        for name in args.column:
            if name not in columns:
                existing = ", ".join(columns)
                raise errors.ConfigError(f"there is no column '{name}'; the columns are {existing}")

    def emit(
        self,
        args: argparse.Namespace,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
    ) -> None:
        """Print rows in the format requested, or as a table. Raises ConfigError as above."""
        from kallithea_tune.cli.output import emit_list

        self.check_columns(args, columns)
        emit_list(args.format, columns, rows, args.column, sys.stdout)


def prepare_streams() -> None:
    """Keep printing from failing for lack of a stream, or of a character in its encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt inside on SIGTERM and SIGHUP, too, so that it can clean up."""

    def interrupt(number: int, frame: Optional[FrameType]) -> NoReturn:
        raise KeyboardInterrupt

    before = {}
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
    """Print inside: when the pipe's reader has gone (``| head``), discard the rest and continue.

    Raises TuneError when the output cannot be written for another reason.
    """
    from kallithea_tune.errors import TuneError

    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        raise TuneError(f"the output cannot be written: {error.strerror}") from None


def _discard_output() -> None:
    # The interpreter flushes stdout once more when it ends, which must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
