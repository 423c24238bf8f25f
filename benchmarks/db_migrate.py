"""Compares db-migrate with its peers, all in one run on the same private servers, and prints times,
memory and ratios.

usage: db_migrate.py DIRECTORY PART [ROWS ...]

PART is ``postgresql`` (against pgloader and COPY), ``mysql`` (against sqlite3-to-mysql, if the
environment variable SQLITE3MYSQL names its program, and LOAD DATA) or ``growth`` (SQLite to both,
for each number of ROWS). ROWS are log rows; a tenth as many comments come with them. Databases are
made in DIRECTORY by generate.py and kept there; those over a million rows repeat the first million.
Run it with the Python of the virtual environment that holds Kallithea.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
MILLION = 10**6
# Run in a process of its own, so that its memory can be measured: everything up to the revision.
OURS = """
import json, sys
from kallithea_tune.config import instance
from kallithea_tune.db_migrate import Migration
with Migration(instance.load(sys.argv[1]), sys.stdin.read()) as migration:
    migration.check()
    report = migration.run()
assert not report.differences
seconds = {step.value: seconds for step, seconds in report.seconds.items()}
print(json.dumps({"seconds": seconds, "rows": sum(report.rows.values())}))
"""


class Taken(NamedTuple):
    """What a program took: seconds on the wall, peak memory in MB; and what it printed."""

    seconds: float
    megabytes: float
    output: str


def taken(*words: object, given: str = "", **environment: str) -> Taken:
    """Run a program, which must succeed, and say what it took."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
        source.write(given.encode())
        source.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=source,
            stdout=output,
            env=dict(os.environ, **environment),
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if status:
        sys.exit(f"{words[0]} failed: {text}")
    return Taken(seconds, usage.ru_maxrss / 1024, text)


def database(directory: Path, rows: int) -> Path:
    """Make the SQLite file with `rows` log rows, unless it is there."""
    path = directory / ("%d.db" % rows)
    if not path.exists() and rows > MILLION:
        shutil.copyfile(str(database(directory, MILLION)), str(path) + ".part")
        multiply(str(path) + ".part", rows // MILLION)
        os.rename(str(path) + ".part", str(path))
    elif not path.exists():
        subprocess.run(
            [
                sys.executable,
                str(ROOT / "benchmarks" / "generate.py"),
                str(path),
                str(rows),
                str(rows // 10),
            ],
            check=True,
        )
    return path


def multiply(path: str, times: int) -> None:
    """Repeat the log rows and comments of a database under new keys."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    for table, key, count in (
        ("user_logs", "user_log_id", MILLION),
        ("changeset_comments", "comment_id", MILLION // 10),
    ):
        rest = ", ".join(
            row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != key
        )
        for number in range(1, times):
            connection.execute(
                "INSERT INTO %s (%s, %s) SELECT %s + %d, %s FROM %s WHERE %s <= %d"
                % (table, key, rest, key, count * number, rest, table, key, count)
            )
            connection.commit()
    connection.close()


def ours(directory: Path, source: Path, url: str) -> dict[str, Any]:
    """Migrate `source` to `url`; return seconds of each step and in total (``wall``), rows, and
    peak memory.
    """
    ini = directory / "benchmark.ini"
    if not ini.exists():
        subprocess.run(
            [str(BIN / "kallithea-cli"), "config-create", str(ini)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    text = ini.read_text().splitlines()
    ini.write_text(
        "\n".join(
            f"sqlalchemy.url = sqlite:///{source}" if line.startswith("sqlalchemy.url") else line
            for line in text
        )
    )
    done = taken(sys.executable, "-c", OURS, ini, given=url)
    return dict(
        json.loads(done.output.splitlines()[-1]), wall=done.seconds, megabytes=done.megabytes
    )


def show(name: str, seconds: float, megabytes: float, rows: int, note: str = "") -> None:
    """Print a line of the table."""
    print(
        "%-44s %7.1f s %10s rows/s %6.0f MB  %s"
        % (name, seconds, f"{rows / seconds:,.0f}", megabytes, note),
        flush=True,
    )


def show_ours(name: str, done: dict[str, Any], peer: float = 0, floor: float = 0) -> None:
    """Print our steps; the transfer is what a peer does as well: rows, keys and indexes."""
    steps, rows = done["seconds"], done["rows"]
    transfer = steps["copy"] + steps["keys and indexes"]
    verified = transfer + steps["verify"]
    show(
        name + ", transfer",
        transfer,
        done["megabytes"],
        rows,
        f"{transfer / peer:.2f} of the peer" if peer else "",
    )
    show(
        "    with verification",
        verified,
        done["megabytes"],
        rows,
        f"{verified / peer:.2f} of the peer" if peer else "",
    )
    show(
        "    everything, preflight and proofs included",
        done["wall"],
        done["megabytes"],
        rows,
        "{:.2f} of the peer".format(done["wall"] / peer) if peer else "",
    )
    print(
        "    {}{}".format(
            ", ".join("{} {:.1f} s".format(*item) for item in steps.items()),
            "; copy is {:.2f} times the floor".format(steps["copy"] / floor) if floor else "",
        ),
        flush=True,
    )


def ready_files(source: Path, directory: Path) -> dict[str, Path]:
    """Write every table as text, as it would go over, for the floor."""
    from kallithea_tune.db_migrate import connect, schema
    from kallithea_tune.db_migrate.engines import engine_for

    engine = connect.source_engine(f"sqlite:///{source}")
    files = {}
    directory.chmod(0o755)
    with engine.connect() as connection:
        source = engine_for(connection)
        for table in schema.ordered(metadata()):
            files[table.name] = directory / (table.name + ".txt")
            with open(str(files[table.name]), "wb") as file:
                for _, text in source.reader.lines(table, True):
                    file.write(text)
    return files


def metadata() -> Any:
    """Return Kallithea's."""
    from kallithea.model import db, meta

    assert db.User
    return meta.Base.metadata


def floor(url: str, files: dict[str, Path], command: Any, name: str) -> Taken:
    """Load the ready files by the engine's own program into tables as db-migrate makes them."""
    from kallithea_tune.db_migrate import connect, schema
    from kallithea_tune.db_migrate.engines import engine_for

    engine = connect.target_engine(url)
    with engine.begin() as connection:
        writer = engine_for(connection).writer
        copies = schema.for_target(schema.ordered(metadata()), writer, metadata())
        writer.begin_load()
        schema.create_tables(writer, list(schema.ordered(copies)))
    return command(
        "".join(statement + "\n" for statement in statements(engine, copies, files, name))
    )


def statements(engine: Any, copies: Any, files: dict[str, Path], name: str) -> Any:
    """Yield what the engine's own program is given."""
    from kallithea_tune.db_migrate.engines.mysql.load_data import LoadData
    from kallithea_tune.db_migrate.engines.postgresql.reading import COPY_FORMAT

    with engine.connect() as connection:
        if name == "mysql":
            yield "SET foreign_key_checks = 0, unique_checks = 0;"
        for table, path in files.items():
            quoted = connection.dialect.identifier_preparer.quote
            if name == "mysql":
                yield LoadData(connection, copies.tables[table]).statement(str(path)) + ";"
            else:
                columns = ", ".join(quoted(column.name) for column in copies.tables[table].columns)
                # Read by the server itself: psql's \\copy takes a line with \\. in a text for the
                # end.
                yield f"COPY {quoted(table)} ({columns}) FROM '{path}' ({COPY_FORMAT});"


def against_postgresql(directory: Path, rows: int) -> None:
    """SQLite to PostgreSQL."""
    from servers.postgresql import PostgreSQL

    source, server = database(directory, rows), PostgreSQL()
    try:
        server.start()
        peer = taken("pgloader", "--quiet", f"sqlite://{source}", server.url("peer"))
        with tempfile.TemporaryDirectory(dir=str(directory)) as scratch:
            files = ready_files(source, Path(scratch))
            url = server.url("floor")
            least = floor(
                url,
                files,
                lambda given: taken("psql", "-q", "-v", "ON_ERROR_STOP=1", url, given=given),
                "postgresql",
            )
        done = ours(directory, source, server.url("ours"))
    finally:
        server.remove()
    show("pgloader, SQLite to PostgreSQL", peer.seconds, peer.megabytes, done["rows"])
    show("COPY of ready files, no keys (floor)", least.seconds, least.megabytes, done["rows"])
    show_ours("db-migrate", done, peer.seconds, least.seconds)


def against_mysql(directory: Path, rows: int) -> None:
    """SQLite to MariaDB."""
    from servers.mariadb import MariaDB

    source, server, peer = database(directory, rows), MariaDB(), None
    login = ["-h", "127.0.0.1", "-P", server.port, "-u", "kallithea"]
    try:
        server.start()
        if os.environ.get("SQLITE3MYSQL"):
            server.url("peer")
            peer = taken(
                os.environ["SQLITE3MYSQL"],
                "-f",
                source,
                "-d",
                "peer",
                *login,
                "--mysql-password",
                server.password,
                "-c",
                "5000",
                "-q",
            )
        with tempfile.TemporaryDirectory(dir=str(directory)) as scratch:
            files = ready_files(source, Path(scratch))
            least = floor(
                server.url("floor"),
                files,
                lambda given: taken(
                    "mariadb",
                    *login,
                    "--local-infile=1",
                    "--default-character-set=utf8mb4",
                    "floor",
                    given=given,
                    MYSQL_PWD=server.password,
                ),
                "mysql",
            )
        done = ours(directory, source, server.url("ours").replace("+pymysql", ""))
        python = ours(directory, source, server.url("ours"))
    finally:
        server.remove()
    if peer:
        show("sqlite3-to-mysql", peer.seconds, peer.megabytes, done["rows"])
    show("LOAD DATA of ready files (floor)", least.seconds, least.megabytes, done["rows"])
    show_ours("db-migrate with mysqlclient", done, peer.seconds if peer else 0, least.seconds)
    show_ours("db-migrate with PyMySQL", python, peer.seconds if peer else 0, least.seconds)


def growth(directory: Path, *counts: int) -> None:
    """SQLite to both, for several sizes."""
    from servers.mariadb import MariaDB
    from servers.postgresql import PostgreSQL

    for server in (PostgreSQL(), MariaDB()):
        try:
            server.start()
            for rows in counts:
                print("{}, {} log rows".format(type(server).__name__, f"{rows:,}"))
                show_ours(
                    "db-migrate",
                    ours(
                        directory,
                        database(directory, rows),
                        server.url("ours").replace("+pymysql", ""),
                    ),
                )
        finally:
            server.remove()


def main() -> None:
    """Run the part that is asked for."""
    sys.path.insert(0, str(ROOT / "tests"))
    directory, part = Path(sys.argv[1]).resolve(), sys.argv[2]
    counts = [int(word) for word in sys.argv[3:]] or [MILLION]
    {"postgresql": against_postgresql, "mysql": against_mysql, "growth": growth}[part](
        directory, *counts
    )


if __name__ == "__main__":
    main()
