from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Sequence

import pytest

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.preflight.actions import STRIP_NUL
from kallithea_tune.db_migrate.preflight.fixes import Fixes, Step, TableFixes
from kallithea_tune.db_migrate.preflight.rules import NUL
from kallithea_tune.db_migrate.quarantine import Quarantine
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.errors import ConfigError

WITHOUT_NUL = Limits(Kind.text, nul=False)
FIXES = Fixes(
    {
        "logs": TableFixes(
            ["id", "text"], [Kind.integer, Kind.text], [0], [Step(1, NUL, STRIP_NUL, WITHOUT_NUL)]
        )
    }
)
ROWS: Sequence[Row] = [
    (number, "a\0%d" % number if number % 2 else "fine") for number in range(2000)
]


def amend_all(path: Path, resume: bool, rows: Sequence[Row] = ROWS) -> list[Row]:
    """Amend the rows, ten at a time."""
    quarantine = Quarantine(str(path))
    quarantine.prepare(resume)
    amend = quarantine.amend(FIXES, "logs")
    assert amend
    kept = [row for start in range(0, len(rows), 10) for row in amend(rows[start : start + 10])]
    quarantine.close()
    return kept


def keys(path: Path) -> list[int]:
    return [json.loads(line)["key"]["id"] for line in path.read_text().splitlines()]


def test_touched_rows_are_kept_and_all_are_returned(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert amend_all(path, False) == [(number, text.replace("\0", "")) for number, text in ROWS]
    assert keys(path) == list(range(1, 2000, 2))
    assert json.loads(path.read_text().splitlines()[0]) == {
        "table": "logs",
        "key": {"id": 1},
        "fixes": ["nul=strip"],
        "became": "changed",
        "row": {"id": 1, "text": "a\0001"},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_resuming_writes_nothing_twice_and_removes_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    amend_all(path, False, ROWS[:1000])
    path.write_bytes(path.read_bytes()[:-20])
    os.chmod(str(path), 0o644)
    amend_all(path, True)
    assert keys(path) == list(range(1, 2000, 2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_starting_over_renames_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for number in range(3):
        amend_all(path, False, ROWS[number * 10 : number * 10 + 10])
    assert keys(path) == [21, 23, 25, 27, 29]
    assert (
        keys(tmp_path / "rows.jsonl.1") == [1, 3, 5, 7, 9]
        and keys(tmp_path / "rows.jsonl.2")[0] == 11
    )


def test_an_empty_file_is_removed(tmp_path: Path) -> None:
    amend_all(tmp_path / "rows.jsonl", False, [(2, "fine")])
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the quarantine file .* the directory .* does not exist"):
        Quarantine(str(tmp_path / "missing" / "rows")).prepare(False)


def test_when_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    path, sent, chance = tmp_path / "rows.jsonl", tmp_path / "sent", random.Random(11)
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import test_quarantine as t; q = t.Quarantine({str(path)!r}); q.prepare(True)\n"
        "for start in range(0, 2000, 10):\n"
        "    rows = q.amend(t.FIXES, 'logs')(t.ROWS[start:start + 10])\n"
        f"    open({str(sent)!r}, 'a').write(''.join('%d ' % row[0] for row in rows))\n"
        "print('done')"
    )
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        until = time.monotonic() + 60
        while not path.exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() / 20)
        process.kill()
        process.communicate()
        over = {
            int(word) for word in (sent.read_text().split(" ") if sent.exists() else []) if word
        }
        complete = path.read_bytes().split(b"\n")[:-1]
        assert {key for key in over if key % 2} <= {
            json.loads(line)["key"]["id"] for line in complete
        }
    amend_all(path, True)
    assert sorted(keys(path)) == list(range(1, 2000, 2))
