"""What all commands share: errors become a sentence and a status, whatever gearbox runs them."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from typing import Any, Sequence


def positive_seconds(text: str) -> float:
    """Read a number of seconds above zero; for argparse."""
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError("give a number of seconds between 0 and 86400")
    return value


class TuneCommand:
    """Mixed into a gearbox `Command`; a subclass has `act(args)`, returning the exit status."""

    app_args: Any
    cmd_name: Any
    instance: Any = None

    @property
    def quiet(self) -> bool:
        """Whether gearbox was given ``-q``."""
        return getattr(self.app_args, "verbose_level", 1) == 0

    def act(self, args: Any) -> int:
        """Carry the command out and return its exit status."""
        raise NotImplementedError

    def run(self, args: Any) -> int:
        """Call `act`; leave by SystemExit, since gearbox 0.3.2 throws every returned status away."""
        status = self._guarded(args)
        sys.stdout.flush()
        if status:
            raise SystemExit(status)
        return 0

    take_action = run

    def _guarded(self, args: Any) -> int:
        from kallithea_tune import errors

        try:
            return self.act(args)
        except KeyboardInterrupt:
            self._complain("interrupted; nothing is left behind")
            return errors.EXIT_INTERRUPTED
        except BrokenPipeError:
            # The interpreter flushes stdout once more when it ends, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return errors.EXIT_OK
        except errors.TuneError as error:
            self._complain(str(error))
            return error.exit_status
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0]
            self._complain("unexpected %s: %s (--debug shows where)" % (type(error).__name__, said))
            return errors.EXIT_FAILED

    def _complain(self, sentence: str) -> None:
        """Say `sentence` on stderr and in gearbox's log file; with the traceback under ``--debug``."""
        text = "gearbox %s: %s" % (self.cmd_name, sentence)
        if getattr(self.app_args, "debug", False):
            text = traceback.format_exc() + text
        text = self._redacted(text)
        print(text, file=sys.stderr)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler):
                handler.emit(logging.LogRecord("kallithea_tune", logging.ERROR, "", 0, text, None, None))

    def _redacted(self, text: str) -> str:
        from kallithea_tune.redact import Redactor

        redactor = self.instance.redactor if self.instance else Redactor()
        result: str = redactor.text(text)
        return result

    def emit(self, args: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]], default: str = "") -> None:
        """Print rows in the asked format; an unknown column is the user's error."""
        from kallithea_tune import errors, output

        try:
            output.emit_list(args.format or default, columns, rows, args.column, sys.stdout)
        except LookupError as error:
            raise errors.ConfigError(
                "there is no column '%s'; the columns are %s" % (error.args[0], ", ".join(columns))) from None
