"""What drivers raise and Ctrl-C, told to the admin: what was under way, what went wrong, what
stands now.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Iterator, Protocol

from kallithea_tune.config.redact import MASK
from kallithea_tune.errors import TuneError

# Where servers put a value of a row into their messages: it may be a password's hash or an API key.
_VALUES = (
    re.compile(r"(?P<head>Duplicate entry )'.*'(?= for key)", re.DOTALL),
    re.compile(
        r"(?P<head>(?:invalid input syntax|out of range|Incorrect \w+ value)[^:\n]*: )['\"].*?['\"](?=$|\s)",
        re.M,
    ),
)


class Work(Protocol):
    """Something under way."""

    @property
    def doing(self) -> str:
        """What is under way."""

    @property
    def stands(self) -> str:
        """What is where should it end now."""


@contextlib.contextmanager
def explained(work: Work) -> Iterator[None]:
    """Turn what SQLAlchemy and the drivers raise inside into TuneError; have KeyboardInterrupt say
    what stands.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"while {work.doing}; {work.stands}") from None
    except Exception as error:
        if not of_driver(error):
            raise
        sentence = f"the migration stopped while {work.doing}: {message_of(_cause(error))}; {work.stands}"
        # Its own text and what it wraps may hold whole rows; where it came from is enough for
        # --debug.
        raise TuneError(sentence).with_traceback(error.__traceback__) from None


def _cause(error: BaseException) -> BaseException:
    """Return the first of the driver's exceptions: to roll back on a lost connection fails, too."""
    while error.__context__ is not None and of_driver(error.__context__):
        error = error.__context__
    return error


def of_driver(error: BaseException) -> bool:
    """Tell whether SQLAlchemy or a driver raised it."""
    from sqlalchemy.exc import SQLAlchemyError

    # PEP 249 has every driver call the root of its exceptions so.
    return isinstance(error, SQLAlchemyError) or any(
        base.__name__ == "Error"
        and base.__module__.split(".")[0] in ("psycopg2", "pymysql", "MySQLdb", "sqlite3")
        for base in type(error).__mro__
    )


def message_of(error: BaseException) -> str:
    """Return the first line of what the server or driver says, without values of rows."""
    origin: Any = getattr(error, "orig", None) or error
    words = [word for word in origin.args if isinstance(word, str)]
    lines = (words[-1] if words else str(origin)).strip().splitlines()
    text = lines[0].rstrip(".") if lines else type(origin).__name__
    for pattern in _VALUES:
        text = pattern.sub(lambda found: found["head"] + MASK, text)
    return text
