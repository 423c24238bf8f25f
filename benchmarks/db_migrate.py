"""Compares db-migrate with its peers on the same private servers, and prints bars of the ratios.

usage: db_migrate.py DIRECTORY PART [ROWS ...]

PART is ``postgresql`` (against pgloader and COPY), ``mysql`` (against sqlite3-to-mysql and LOAD
DATA), ``growth`` (SQLite to both, for each number of ROWS: time and memory as it grows) or ``all``
of them. ROWS are log rows, by default 1,000,000; a tenth as many comments come with them. Databases
are made in DIRECTORY by generate.py and kept there; those over a million rows repeat the first
million. ROUNDS in the environment (3) says how often ours and pgloader take turns; the medians are
shown. Run it with the Python of the virtual environment that holds Kallithea.

The peers: ``apt-get install pgloader``, and ``pip install sqlite3-to-mysql`` into an environment of
its own, whose program the variable SQLITE3MYSQL names; one that is not there is left out. Since
sqlite3-to-mysql takes minutes it gets a tenth of the rows, and its time is multiplied by ten, to
which its start contributes ten times as well.

Memory is what all processes of a program use together, shared pages counted once (Pss).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
MILLION = 10**6
SHARE = 10  # of the rows that the slow peer gets one
ROUNDS = int(os.environ.get("ROUNDS", "3"))
WIDTH = 30  # characters of the bar of a ratio of 1
SAMPLE = 0.1  # seconds between two looks at the memory
# Run in a process of its own, so that its memory can be measured: everything up to the revision.
OURS = """
import json, sys
from kallithea_tune.config import instance
from kallithea_tune.db_migrate import Migration
with Migration(instance.load(sys.argv[1]), sys.stdin.read()) as migration:
    migration.check()
    if sys.argv[2:]:
        assert not migration.dry_run().preflight.blocking
        sys.exit()
    report = migration.run()
assert not report.differences
seconds = {step.value: seconds for step, seconds in report.seconds.items()}
print(json.dumps({"seconds": seconds, "rows": sum(report.rows.values())}))
"""


class Taken(NamedTuple):
    """What a program took: seconds on the wall and of processors, peak memory in MB; and what it
    printed.
    """

    seconds: float
    cpu: float
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
        memory = Memory(process.pid)
        memory.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        memory.join()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if status:
        sys.exit(f"{words[0]} failed: {text}")
    return Taken(seconds, usage.ru_utime + usage.ru_stime, memory.peak, text)


class Memory(threading.Thread):
    """Looks at the memory of a process and its children until it ends; `peak` is in MB."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process, self.peak = process, 0.0

    def run(self) -> None:
        """Look again and again."""
        while True:
            used = proportional(self._process)
            if not used:
                return
            self.peak = max(self.peak, used)
            time.sleep(SAMPLE)


def proportional(process: int) -> float:
    """Return the MB of a process and all that it began, 0 when it has ended."""
    used = 0.0
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{process}/smaps_rollup") as file:
            used = next(int(line.split()[1]) / 1024 for line in file if line.startswith("Pss:"))
        with open(f"/proc/{process}/task/{process}/children") as file:
            used += sum(proportional(int(child)) for child in file.read().split())
    return used


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


class Done(NamedTuple):
    """What one of our runs took, in all and for each step, and how many rows it copied."""

    all: Taken
    steps: dict[str, float]
    rows: int

    @property
    def transfer(self) -> float:
        """What the peers do as well: rows, keys and indexes."""
        return self.steps["copy"] + self.steps["keys and indexes"]


def ini_file(directory: Path, source: Path) -> Path:
    """Write an ini file for a source."""
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
    return ini


def ours(directory: Path, source: Path, url: str, after_dry_run: bool = False) -> Done:
    """Migrate `source` to `url`."""
    ini = ini_file(directory, source)
    if after_dry_run:
        taken(sys.executable, "-c", OURS, ini, "dry", given=url)
    done = taken(sys.executable, "-c", OURS, ini, given=url)
    found = json.loads(done.output.splitlines()[-1])
    return Done(done, found["seconds"], found["rows"])


def median(runs: list[Done]) -> Done:
    """Return the run whose time is in the middle."""
    return sorted(runs, key=lambda run: run.all.seconds)[len(runs) // 2]


def show(name: str, seconds: float, peer: float, note: str = "") -> None:
    """Print a line of the table: seconds, their ratio to the peer's, and a bar of that."""
    ratio = seconds / peer if peer else 0.0
    bar = "\u2588" * max(1, round(min(ratio, 2.0) * WIDTH)) if peer else ""
    print(f"{name:44} {seconds:7.1f} s {ratio:6.2f} {bar:{WIDTH}} {note}", flush=True)


def show_ours(name: str, done: Done, peer: float = 0) -> None:
    """Print one of our runs in three parts."""
    show(name + ", rows, keys and indexes", done.transfer, peer)
    show("    with verification", done.transfer + done.steps["verify"], peer)
    show("    everything", done.all.seconds, peer, cost(done.all))
    print("        " + ", ".join("{} {:.1f} s".format(*step) for step in done.steps.items()))


def cost(run: Taken) -> str:
    """Describe memory and processor time of a program."""
    return f"{run.megabytes:.0f} MB, {run.cpu:.1f} s of processor"


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


def against_postgresql(directory: Path, rows: int = MILLION) -> None:
    """SQLite to PostgreSQL."""
    from servers.postgresql import PostgreSQL

    source, server = database(directory, rows), PostgreSQL()
    plain, proven, peers = [], [], []
    try:
        server.start()
        for number in range(ROUNDS):
            if shutil.which("pgloader"):
                url = server.url(f"peer{number}")
                peers.append(taken("pgloader", "--quiet", f"sqlite://{source}", url))
            plain.append(ours(directory, source, server.url(f"ours{number}")))
            proven.append(ours(directory, source, server.url(f"proven{number}"), True))
        with tempfile.TemporaryDirectory(dir=str(directory)) as scratch:
            files = ready_files(source, Path(scratch))
            url = server.url("floor")
            least = floor(
                url,
                files,
                lambda given: taken("psql", "-q", "-v", "ON_ERROR_STOP=1", url, given=given),
                "postgresql",
            )
    finally:
        server.remove()
    peer = statistics.median(run.seconds for run in peers) if peers else 0.0
    print(f"SQLite to PostgreSQL, {median(plain).rows:,} rows, {ROUNDS} rounds")
    if peers:
        show("pgloader", peer, peer, f"{max(run.megabytes for run in peers):.0f} MB")
    show("COPY of ready files, no keys (floor)", least.seconds, peer)
    show_ours("db-migrate", median(plain), peer)
    show_ours("after --dry-run", median(proven), peer)


def slow_peer(directory: Path, rows: int, server: Any) -> Optional[Taken]:
    """Have sqlite3-to-mysql copy a share of the rows; return what all would take."""
    program = os.environ.get("SQLITE3MYSQL") or shutil.which("sqlite3mysql")
    if not program:
        print("sqlite3-to-mysql is not there: SQLITE3MYSQL has to name its program")
        return None
    server.url("peer")
    login = ["-h", "127.0.0.1", "-P", server.port, "-u", "kallithea"]
    login += ["--mysql-password", server.password]
    source = database(directory, rows // SHARE)
    run = taken(program, "-f", source, "-d", "peer", *login, "-c", "5000", "-q")
    return run._replace(seconds=run.seconds * SHARE)


def against_mysql(directory: Path, rows: int = MILLION) -> None:
    """SQLite to MariaDB."""
    from servers.mariadb import MariaDB

    source, server = database(directory, rows), MariaDB()
    login = ["-h", "127.0.0.1", "-P", server.port, "-u", "kallithea"]
    try:
        server.start()
        peer = slow_peer(directory, rows, server)
        plain, proven, python = [], [], []
        for _ in range(ROUNDS):
            for runs, driver, dried in (
                (plain, "mysql", False),
                (proven, "mysql", True),
                (python, "mysql+pymysql", False),
            ):
                # Two databases, since MariaDB gets slower with the number of its tables; what a
                # dry run proves is of one of them.
                url = server.url("proven" if dried else "ours").replace("mysql+pymysql", driver)
                drop_all(url)
                runs.append(ours(directory, source, url, dried))
        with tempfile.TemporaryDirectory(dir=str(directory)) as scratch:
            files = ready_files(source, Path(scratch))
            words = ["mariadb", *login, "--local-infile=1", "--default-character-set=utf8mb4"]
            least = floor(
                server.url("floor"),
                files,
                lambda given: taken(*words, "floor", given=given, MYSQL_PWD=server.password),
                "mysql",
            )
    finally:
        server.remove()
    seconds = peer.seconds if peer else 0.0
    print(f"SQLite to MariaDB, {median(plain).rows:,} rows, {ROUNDS} rounds")
    if peer:
        show(f"sqlite3-to-mysql, {SHARE} x 1/{SHARE} of the rows", seconds, seconds)
    show("LOAD DATA of ready files (floor)", least.seconds, seconds)
    for name, runs in (("mysqlclient", plain), ("dry-run", proven), ("PyMySQL", python)):
        done = median(runs)
        show_ours(f"{'after --' if runs is proven else 'with '}{name}", done, seconds)
        if peer:
            print(f"        sqlite3-to-mysql takes {seconds / done.all.seconds:.0f} times that")


def drop_all(url: str) -> None:
    """Empty a database."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    found = sqlalchemy.MetaData()
    found.reflect(engine)
    found.drop_all(engine)
    engine.dispose()


def growth(directory: Path, *counts: int) -> None:
    """SQLite to both, for several sizes."""
    from servers.mariadb import MariaDB
    from servers.postgresql import PostgreSQL

    for server in (PostgreSQL(), MariaDB()):
        try:
            server.start()
            for rows in counts or (MILLION // 10, MILLION, 10 * MILLION):
                url = server.url("ours").replace("+pymysql", "")
                drop_all(url)
                done = ours(directory, database(directory, rows), url)
                print(f"{type(server).__name__}, {rows:,} log rows: {done.all.megabytes:.0f} MB")
                show_ours("db-migrate", done)
        finally:
            server.remove()


def main() -> None:
    """Run the part that is asked for."""
    sys.path.insert(0, str(ROOT / "tests"))
    directory, part = Path(sys.argv[1]).resolve(), sys.argv[2]
    parts: dict[str, Callable[..., None]] = {
        "postgresql": against_postgresql,
        "mysql": against_mysql,
        "growth": growth,
    }
    for name in parts if part == "all" else [part]:
        parts[name](directory, *map(int, sys.argv[3:]))


if __name__ == "__main__":
    main()
