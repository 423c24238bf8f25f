"""What runs instances, and what cron has for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.scaling import programs

INI = "/srv/kallithea/my.ini"
CRON = f"""# m h  dom mon dow command
MAILTO=root
0 * * * * /opt/kallithea/bin/kallithea-cli index-create -c {INI}
5 * * * * kallithea cd /srv/kallithea && kallithea-cli index-create -c my.ini
# 9 * * * * kallithea-cli index-create -c {INI}
7 * * * * kallithea kallithea-cli index-create --config=/srv/other/my.ini
8 * * * * kallithea kallithea-cli repo-scan -c /srv/kallithea/../kallithea/my.ini 'unclosed
"""
UNIT = f"[Service]\nExecStart=/opt/bin/kallithea-cli index-create -c {INI}\n"


def test_jobs_are_those_of_the_ini_file() -> None:
    texts = {"/etc/crontab": CRON, "/etc/systemd/system/index.service": UNIT}
    assert programs.jobs(texts, INI) == {"index-create": list(texts), "repo-scan": ["/etc/crontab"]}
    assert programs.jobs({"a": CRON}, "/srv/other/my.ini")["index-create"] == ["a"]
    assert programs.jobs(texts, "/srv/kallithea/web2.ini") == {}


def test_files_of_jobs_are_read_and_links_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cron.d").mkdir()
    (tmp_path / "crontab").write_text(CRON)
    (tmp_path / "cron.d" / "index").write_text(UNIT)
    (tmp_path / "cron.d" / "linked").symlink_to("/etc/passwd")
    os.mkfifo(str(tmp_path / "cron.d" / "pipe"))
    places = ((str(tmp_path), "crontab"), (str(tmp_path / "cron.d"), ""))
    monkeypatch.setattr(programs, "SYSTEM", places)
    monkeypatch.setattr(programs, "USERS", (str(tmp_path / "none"),))
    assert sorted(programs.tables()) == [
        str(tmp_path / "cron.d" / "index"),
        str(tmp_path / "crontab"),
    ]


def test_a_process_runs_what_is_installed_beside_what_it_has_mapped(tmp_path: Path) -> None:
    place = tmp_path / "lib" / "python3.9" / "site-packages"
    (place / "mercurial" / "cext").mkdir(parents=True)
    for name in (
        "Kallithea-0.6.3.dist-info",
        "mercurial-5.9.3-py3.9.egg-info",
        "Mako-1.2.dist-info",
    ):
        (place / name).mkdir()
    library = place / "mercurial" / "cext" / "parsers.cpython-39-x86_64-linux-gnu.so"
    shutil.copy(sys.executable, str(library))
    code = (
        "import mmap, sys; file = open(sys.argv[1], 'rb'); "
        "kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); print(flush=True); input()"
    )
    words = [sys.executable, "-c", code, str(library)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        found = programs.versions_of([process.pid], None)
        process.communicate(b"\n", timeout=30)
    assert found == "Kallithea 0.6.3, Mercurial 5.9.3, Python 3.9"
    with pytest.raises(NotMeasured, match="do not show"):
        programs.versions_of([process.pid], None)
