"""The page of a check: what ``--explain`` prints, and what the documentation has.

It lies beside the check as ``ID.rst``. ``|NAME|`` in it is a constant of the check's module or of
one that measures for it, so that no threshold is written down twice; ``|NAME%|`` is a fraction as a
percentage.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Callable, Iterator

from kallithea_tune.perf_check.model import Check
from kallithea_tune.text import figure

_CONSTANT = re.compile(r"\|([A-Z][A-Z0-9_]*)(%?)\|")


def page(check: Check) -> str:
    """Return the page in reStructuredText, or title and docstring of a check that has none.

    Raises LookupError when the page uses a constant that is not there.
    """
    path = Path(inspect.getfile(check.judge)).with_name(f"{check.id}.rst")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        description = inspect.getdoc(check.judge) or ""
        return f"{check.id} ({check.slug}): {check.title}\n\n{description}"
    return _CONSTANT.sub(lambda match: _value(check, match[1], bool(match[2])), text)


def _value(check: Check, name: str, percent: bool) -> str:
    for function in _functions(check):
        constants = vars(sys.modules[function.__module__])
        if name in constants:
            value = constants[name]
            if percent:
                return f"{100 * value:g} %"
            if isinstance(value, int):
                return f"{value:,}"
            return figure(value) if isinstance(value, float) else str(value)
    raise LookupError(f"{check.id}.rst: there is no constant {name}")


def _functions(check: Check) -> Iterator[Callable[..., object]]:
    yield check.judge
    yield from (measurement.function for measurement in check.measurements)
