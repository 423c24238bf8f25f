"""The command in a process that is forked from the tests', where all is imported already."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import traceback
from typing import Any, NoReturn


def gearbox(*words: object, stdout: Any = None) -> "subprocess.CompletedProcess[str]":
    """Run gearbox with these words; as subprocess.run does, with both outputs in files."""
    import gearbox.main  # noqa: F401
    import kallithea.model.db  # noqa: F401

    from kallithea_tune.cli import db_migrate, perf_check, static_export  # noqa: F401
    from kallithea_tune.db_migrate import migration, report, switch  # noqa: F401
    from kallithea_tune.perf_check import model
    from kallithea_tune.static_export import configure, export  # noqa: F401

    model.all_checks()

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        child = os.fork()
        if not child:
            _become(stdout or out, error, words)
        status = os.waitpid(child, 0)[1]
        said = []
        for file in (out, error):
            file.seek(0)
            said.append(file.read().decode())
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return subprocess.CompletedProcess([], code, *said)


def _become(out: Any, error: Any, words: Any) -> NoReturn:
    """Be gearbox, to the end of the process."""
    code: Any = 70
    try:
        for number, file in ((1, out), (2, error)):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        # pytest's, with which gearbox would have no need for its own.
        logging.getLogger().handlers.clear()
        sys.argv = ["gearbox", *map(str, words)]
        from gearbox.main import main

        code = main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Whatever the tests have open and registered belongs to their process.
        os._exit(code or 0)
