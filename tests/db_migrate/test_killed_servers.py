"""Servers that are killed while they are read or written, and readers that stop in the middle."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy
from faults import At, moved

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, connect
from kallithea_tune.db_migrate.engines import engine_for
from kallithea_tune.errors import TuneError

DRIVERS = {"psycopg2": "postgresql", "pymysql": "mariadb", "mysqldb": "mariadb"}


def with_driver(url: str, driver: str) -> str:
    return url.replace("+pymysql", "+mysqldb") if driver == "mysqldb" else url


def _run(ini: Path, url: str, pid: int, file: Any) -> NoReturn:
    """Migrate, kill the server `pid` meanwhile, write how it ended to `file`, and end."""
    os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
    try:
        at = At("copying user_logs", lambda: os.kill(pid, signal.SIGKILL))
        with Migration(instances.load(str(ini)), url, progress=at) as migration:
            migration.run()
    except TuneError as error:
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


@pytest.mark.once
@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_killed_server_is_one_sentence(
    driver: str, end: str, request: Any, large: Path, with_url: Any, tmp_path: Path
) -> None:
    server = request.getfixturevalue(DRIVERS[driver])
    url = with_driver(server.url("killed"), driver)
    ini, file = large, f"sqlite:///{tmp_path / 'moved.db'}"
    if end == "source":
        assert moved(large, url).differences == []
        ini, url = with_url(large, url), file
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            _run(ini, url, server.pid, said)
        os.waitpid(child, 0)
        server.stop()
        server.start()
        said.seek(0)
        (line,) = said.read().decode().splitlines()
    assert line.startswith("the migration stopped while copying user_logs: "), line
    lost = ("closed the connection", "Lost connection", "gone away")
    assert any(words in line for words in lost), line
    assert server.password not in line


@pytest.mark.parametrize("driver", ["pymysql", "mysqldb"])
def test_a_reader_that_stops_early_does_not_read_on(driver: str, mariadb: Any) -> None:
    url = with_driver(mariadb.url("early"), driver)
    with contextlib.closing(mariadb.connect("early")) as plain:
        cursor = plain.cursor()
        cursor.execute("CREATE TABLE many (id INTEGER PRIMARY KEY, word VARCHAR(1000))")
        cursor.execute("INSERT INTO many SELECT seq, repeat('x', 1000) FROM seq_1_to_60000")
    table = sqlalchemy.Table(
        "many",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("word", sqlalchemy.Unicode(1000)),
    )
    with connect.source_engine(url).connect() as connection:
        reader = engine_for(connection).reader
        reader.begin_snapshot()
        for rows in (reader.rows(table), reader.lines(table, True)):
            next(rows)
            rows.close()
        # Each time as much as the sockets had room for, of 60 MB.
        (sent,) = connection.execute(sqlalchemy.text("SHOW SESSION STATUS LIKE 'Bytes_sent'"))
        assert int(sent[1]) < 60_000_000
        count = sqlalchemy.text("SELECT count(*) FROM many")
        assert connection.execute(count).scalar() == 60000


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_request_to_cancel_lets_everything_else_go_on(driver: str, request: Any) -> None:
    server = request.getfixturevalue(DRIVERS[driver])
    engine = connect.source_engine(with_driver(server.url("cancelled"), driver))
    with engine.connect() as connection:
        cancel = engine_for(connection).cancel
        waiting = threading.Thread(target=cancel.request, daemon=True)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
        finally:
            os.kill(server.pid, signal.SIGCONT)
        waiting.join()
