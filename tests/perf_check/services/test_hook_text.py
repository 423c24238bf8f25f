"""What the text of hooks says about their time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import pytest

from kallithea_tune.perf_check.services.hook_text import (
    READ_BYTES,
    Waiting,
    of_extensions,
    of_git,
    of_mercurial,
    of_python,
    of_shell,
)

NOTHING = Waiting()


@pytest.mark.parametrize(
    "source, waiting",
    [
        ("sleep 10", Waiting(10.0)),
        ("true && sleep 0.5; /bin/sleep 2m", Waiting(120.5)),
        ("if x; then sleep 1h; fi", Waiting(3600.0)),
        ("# sleep 10\necho sleep 10; asleep 3", NOTHING),
        ("sleep 10 >/dev/null 2>&1 &", NOTHING),
        ("curl -s https://ci/ && /usr/bin/ssh a b", Waiting(0.0, ("curl", "ssh"))),
        ("git  push mirror\necho | mail -s x y", Waiting(0.0, ("git push", "mail"))),
        ("echo curl; git log; my-curl x; curlew", NOTHING),
    ],
)
def test_the_shell_waits_where_a_command_says_so(source: str, waiting: Waiting) -> None:
    assert of_shell(source) == waiting


@pytest.mark.parametrize(
    "source, waiting",
    [
        ("import time\ndef hook(**kw):\n    time.sleep(3)", Waiting(3.0)),
        ("from time import sleep as nap\nnap(1.5)\nnap(x)", Waiting(1.5)),
        ("import urllib.request as r\nr.urlopen('x')", Waiting(0.0, ("urllib",))),
        ("from subprocess import check_call\ncheck_call('x')", Waiting(0.0, ("subprocess",))),
        ("import os\nos.system('make')", Waiting(0.0, ("os.system",))),
        ("import requests, time\nsleep = 3\nprint(time.time())", NOTHING),
        ("def broken(:", NOTHING),
        ("x" * 5 + "\0", NOTHING),
        pytest.param("not " * 16_000 + "1", NOTHING, id="too deep"),
    ],
)
def test_python_waits_where_it_calls_what_waits(source: str, waiting: Waiting) -> None:
    assert of_python(source) == waiting


def test_a_hook_of_mercurial_is_read_with_its_script(tmp_path: Path) -> None:
    script = tmp_path / "notify.sh"
    script.write_text("sleep 2\n")
    assert of_mercurial(f"{script} --all") == of_mercurial(f"sh {script}") == Waiting(2.0)
    module = tmp_path / "hook.py"
    module.write_text("import time\ntime.sleep(4)\n")
    assert of_mercurial(f"python:{module}:hook") == Waiting(4.0)
    assert of_mercurial(f"python3 {module}") == Waiting(4.0)
    for unknown in ("python:package.hook", "it's", "/nowhere/x", os.sep, "make"):
        assert of_mercurial(unknown) == NOTHING


def test_links_devices_and_other_languages_are_not_read(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (tmp_path / "secret.sh").write_text("#!/bin/sh\nsleep 9\n")
    (hooks / "update").symlink_to(tmp_path / "secret.sh")
    os.mkfifo(str(hooks / "pre-receive"))
    (hooks / "post-update").write_text("#!/usr/bin/perl\nsleep 9\n")
    for name in ("update", "pre-receive", "post-update", "missing"):
        assert of_git(str(tmp_path), name) == NOTHING
    (hooks / "post-receive-custom").write_text("#!/bin/bash\nsleep 9\n")
    assert of_git(str(tmp_path), "post-receive-custom") == Waiting(9.0)
    (hooks / "large").write_text("#!/bin/sh\n" + "\n" * READ_BYTES + "sleep 9\n")
    assert of_git(str(tmp_path), "large") == NOTHING


@pytest.mark.parametrize(
    "body, waiting",
    [
        ('    """Nothing."""\n', None),
        ("    return 0\n", None),
        ("    pass\n", None),
        ("    print(1)\n", NOTHING),
        ("    requests.post('x')\n", Waiting(0.0, ("requests",))),
    ],
)
def test_a_hook_of_extensions_counts_where_it_does_something(
    tmp_path: Path, body: str, waiting: Optional[Waiting]
) -> None:
    source = f"import requests\ndef PUSH_HOOK(*args, **kwargs):\n{body}"
    (tmp_path / "extensions.py").write_text(source)
    assert of_extensions(str(tmp_path), "PUSH_HOOK") == waiting
    assert of_extensions(str(tmp_path), "PULL_HOOK") is None
    assert of_extensions(str(tmp_path / "none"), "PUSH_HOOK") is None
