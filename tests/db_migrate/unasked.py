"""The whole command in a process that is forked from the tests', where all is imported, and asks no
application.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import traceback
from typing import Any, Mapping, NoReturn


def without_asking(
    *words: object, cwd: str, env: Mapping[str, str], stdin: Any = None
) -> "subprocess.CompletedProcess[str]":
    """Run gearbox with these words; as subprocess.run does, with both outputs in pipes."""
    # Imported in the parent, once.
    import gearbox.main  # noqa: F401
    import kallithea.model.db  # noqa: F401

    from kallithea_tune.cli import db_migrate  # noqa: F401
    from kallithea_tune.db_migrate import migration, options, progress, report, switch  # noqa: F401

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(
        os.devnull, "rb"
    ) as nothing:
        child = os.fork()
        if not child:
            _become(
                nothing if stdin in (None, subprocess.DEVNULL) else stdin, out, err, cwd, env, words
            )
        status = os.waitpid(child, 0)[1]
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return subprocess.CompletedProcess([], code, *said)


def _become(
    given: Any, out: Any, err: Any, cwd: str, env: Mapping[str, str], words: Any
) -> NoReturn:
    """Be gearbox, to the end of the process."""
    from kallithea_tune.db_migrate import cutover

    code: Any = 70
    try:
        for number, file in enumerate((given, out, err)):
            os.dup2(file if isinstance(file, int) else file.fileno(), number)
        sys.stdin = os.fdopen(0, "r", closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        # pytest's, with which gearbox would have no need for its own.
        logging.getLogger().handlers.clear()
        cutover.Cutover.visit_source_early = lambda self: None  # type: ignore[method-assign]
        cutover.Cutover.compare_pages = lambda self: self._migration.result  # type: ignore[method-assign]
        sys.argv = ["gearbox", *map(str, words)]
        from gearbox.main import main

        code = main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Whatever the tests have open and registered belongs to their process.
        os._exit(code or 0)
