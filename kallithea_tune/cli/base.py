"""What our commands have in common: their result and their errors, whichever gearbox runs them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import sys
import traceback
from typing import TYPE_CHECKING, Iterator, Mapping, NoReturn, Optional, Sequence, TextIO

from kallithea_tune.cli import masking
from kallithea_tune.system import interruption
from kallithea_tune.system.interruption import interrupted_by_signals
from kallithea_tune.text import printable

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.config.redact import Redactor

INI_VARIABLE = "KALLITHEA_INI"


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
        if getattr(namespace, self.dest) is not self.default:
            raise argparse.ArgumentError(self, "it is given twice")
        setattr(namespace, self.dest, values)


def add_ini_option(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add ``--config``, which may be given for `several` instances, and is a list then."""
    parser.add_argument(
        "-c",
        "--config",
        action="append" if several else Once,
        metavar="INI",
        default=None if several else os.environ.get(INI_VARIABLE),
        help=f"the ini file, or INI#application (default: that of {INI_VARIABLE})"
        + ("; repeatable, to compare instances" if several else ""),
    )


class TuneCommand:
    """Mixed into a gearbox `Command`; a subclass has `act(args)`, which returns the exit status."""

    app_args: Optional[argparse.Namespace]
    cmd_name: str
    instance: Instance  # once it is loaded
    _early_redactor: Optional[Redactor] = None

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
        from kallithea_tune import errors

        try:
            with interrupted_by_signals():
                prepare_streams()
                for handler in logging.getLogger().handlers:
                    handler.addFilter(self._redact_record)
                masking.redact_python(lambda text: printable(self._redacted(text), lines=True))
                status = self._guarded(args)
        except KeyboardInterrupt:
            status = errors.EXIT_INTERRUPTED
        if status:
            raise SystemExit(status)
        return 0

    take_action = run

    def load(self, location: str, given: Optional[Mapping[str, str]] = None) -> Instance:
        """Load the ini file into `instance`; raise ConfigError unless it runs Kallithea, here.

        Secrets in what was `given` elsewhere, by option, are redacted, too.
        """
        from kallithea_tune.app import kallithea
        from kallithea_tune.config import instance

        self.instance = instance.load(location, given=given)
        kallithea.require(self.instance)
        note = kallithea.version_note()
        if note and not self.quiet:
            print(f"gearbox {self.cmd_name}: {note}", file=sys.stderr)
        return self.instance

    def _guarded(self, args: argparse.Namespace) -> int:
        from kallithea_tune import errors

        try:
            status = self.act(args)
            with reader_may_leave():
                sys.stdout.flush()
            if interruption.requested():
                raise KeyboardInterrupt("when everything was done")
            return status
        except KeyboardInterrupt as error:
            return self._interrupted(*map(str, error.args))
        except BrokenPipeError:
            _discard_output(sys.stdout)
            return self._interrupted() if interruption.requested() else errors.EXIT_OK
        except Exception as error:
            known = isinstance(error, errors.TuneError)
            if interruption.requested() or errors.interrupted(error):
                return self._interrupted(*([f"({error})"] if known else []))
            if isinstance(error, errors.TuneError):
                self._log_error(str(error))
                return error.exit_status
            message = (str(error).strip().splitlines() or [""])[0]
            self._log_error(f"unexpected {type(error).__name__}: {message} (--debug shows where)")
            return errors.EXIT_FAILED

    def _interrupted(self, *details: str) -> int:
        """Say that the end was requested; return the exit status."""
        from kallithea_tune import errors

        _discard_blocked_output()
        self._log_error(" ".join(["interrupted", *details]))
        return errors.EXIT_INTERRUPTED

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
        record.exc_text = None  # as another handler may have kept it
        return True

    @property
    def redactor(self) -> Redactor:
        """Mask the secrets that are known so far: without an ini file, those of the environment."""
        from kallithea_tune.config.redact import Redactor, secrets_of, surroundings

        instance: Optional[Instance] = getattr(self, "instance", None)
        if instance:
            return instance.redactor
        if self._early_redactor is None:
            self._early_redactor = Redactor(secrets_of(surroundings()))
        return self._early_redactor

    def _redacted(self, text: str) -> str:
        return self.redactor.text(text)

    def warn_of_password(self, option: str, values: Sequence[str], remedy: str) -> None:
        """Warn on stderr when one of the `values` of `option`, an argument, has a password."""
        warning = masking.exposed(option, values, remedy)
        if warning and not self.quiet:
            print(warning, file=sys.stderr)

    def confirm(self, question: str, unattended: str) -> bool:
        """Return whether the answer on the terminal is yes; raise Refused without a terminal."""
        from kallithea_tune.errors import Refused

        if not sys.stdin or not sys.stdin.isatty():
            raise Refused(unattended)
        text = printable(self._redacted(question))
        print(f"{text} [y/N] ", end="", file=sys.stderr, flush=True)
        interruption.wait_readable(sys.stdin.fileno())
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def check_columns(self, args: argparse.Namespace, columns: Sequence[str]) -> None:
        """Raise ConfigError for a column that is chosen or sorted by and not among `columns`."""
        from kallithea_tune import errors

        for name in (*args.column, *args.sort_column):
            if name not in columns:
                existing = ", ".join(columns)
                raise errors.ConfigError(f"there is no column '{name}'; the columns are {existing}")

    def emit(
        self,
        args: argparse.Namespace,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        essential: Sequence[str] = (),
    ) -> None:
        """Print rows in the format requested, or as a table. Raises ConfigError as above.

        A table has the `essential` columns by default.
        """
        from kallithea_tune.cli.format_options import layout
        from kallithea_tune.cli.output import emit_list

        self.check_columns(args, columns)
        rows = [self.redactor.value(row) for row in rows]
        emit_list(layout(args), columns, rows, sys.stdout, essential)


def prepare_streams() -> None:
    """Keep printing from failing for lack of a stream, or of a character in its encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print inside: when the pipe's reader has gone (``| head``), discard the rest and continue.

    Raises TuneError when the output cannot be written for another reason.
    """
    from kallithea_tune.errors import TuneError

    if interruption.requested():
        _discard_blocked_output()
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output(sys.stdout)
    except OSError as error:
        _discard_output(sys.stdout)
        raise TuneError(f"the output cannot be written: {error.strerror}") from None


def _discard_output(stream: TextIO) -> None:
    # The interpreter flushes stdout once more when it ends, which must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _discard_blocked_output() -> None:
    """Discard what would wait for a reader that stands still, as a pager does."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if not select.select([], [stream], [], 0)[1]:
                _discard_output(stream)
