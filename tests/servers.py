"""Real database servers for the tests: private, disposable, and proven to be ours before anything is written.

Each server has its own folder, port and socket, runs as an unprivileged user, and is gone when the tests end, however
they end. Settings are chosen so that mistakes show: PostgreSQL runs in New York with a linguistic collation, MariaDB
two hours east of UTC. Neither waits for the disk unless `durable` is asked for.

    with PostgresServer() as server:
        database = server.create_database()
        connection = server.connect(database)

ACCORD_TEST_POSTGRESQL names the folder of another PostgreSQL to run them on (`install_postgresql_versions.py`).
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
import pymysql
import pymysql.cursors

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "servers"
START_SECONDS = 60.0
OTHER_POSTGRESQL = "ACCORD_TEST_POSTGRESQL"
"""A folder that is named for its version and holds bin, lib and share; the system's PostgreSQL without it."""
ADMIN, PASSWORD = "admin", "secret"


class ServerError(Exception):
    """A server is not installed, does not start, or is not the one that we started. Says what to do."""


class Server:
    """One server process with a folder of its own. Started by `start` or `with`; stopped at exit at the latest."""

    kind = ""
    account = ""  # the unprivileged user that it runs as when the tests run as root

    def __init__(self, durable: bool = False, options: Sequence[str] = (), template: Path | None = None) -> None:
        """`template`: the data folder of a stopped server of this version, to start from a copy of."""
        self.durable = durable
        self.options = list(options)
        self.template = template
        self.home = Path(tempfile.mkdtemp(prefix=f"accord-{self.kind}-"))
        self.data = self.home / "data"
        self.socket = self.home
        self.host = "127.0.0.1"
        self.port = 0
        self.log = self.home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        atexit.register(self.remove)

    # --- what each kind of server says for itself --------------------------------------------------------------------

    def version(self) -> str:
        raise ServerError(f"{self.kind} has no version")

    def initialise(self, data: Path) -> None:
        """Make an empty data folder. Slow: done once per version, then copied."""

    def command(self) -> list[str]:
        return []

    def own(self) -> bool:
        """Does the server on our port keep its data in our folder? Raises the driver's error while it starts."""
        return False

    # --- life --------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.kind} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start and wait until it answers. The port stays the same over restarts."""
        if self.running:
            return self
        if not self.data.exists():
            self._copy(self.template or self._empty())
        fresh = self.port == 0
        for attempt in range(5):
            if fresh:
                self.port = free_port()
            try:
                self._start_once()
                return self
            except ServerError:
                self._reap()
                if attempt == 4 or not fresh:
                    raise
        return self

    def stop(self) -> None:
        """Shut down in good order (and remove nothing). No error when it does not run."""
        self._signal(signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """SIGKILL to the server and to all its children, as when the machine loses power (but for the disk's cache)."""
        if not self.running:
            return
        family = [self.pid, *children(self.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._reap()
        wait_gone(family[1:])

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def keep(self, folder: Path) -> None:
        """Stop, and copy the data folder: a `template` for other servers of this version."""
        self.stop()
        shutil.copytree(self.data, folder, symlinks=True)

    def remove(self) -> None:
        """Stop at once and remove the folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.remove)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.remove()

    # --- how ---------------------------------------------------------------------------------------------------------

    def _start_once(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user(),
            )
        # A test run that is killed cannot clean up: the guard sees its pipe close and does it.
        self._guard = subprocess.Popen(
            ["sh", "-c", f"cat >/dev/null; kill -9 {self.pid}; rm -rf '{self.home}'"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_ready()

    def _wait_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if not self.running:
                raise ServerError(f"{self.kind} did not start:\n{self.tail()}")
            try:
                ours = self.own()
            except (psycopg.Error, pymysql.Error):
                time.sleep(0.05)
                continue
            if not ours:
                raise ServerError(f"port {self.port} belongs to another {self.kind} server")
            return
        raise ServerError(f"{self.kind} does not answer on port {self.port}:\n{self.tail()}")

    def _signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
        self._guard = None

    def _copy(self, template: Path) -> None:
        shutil.copytree(template, self.data, symlinks=True)
        self.data.chmod(0o700)
        self._give(self.home)

    def _empty(self) -> Path:
        """An initialised data folder of this version: made once, then kept."""
        template = CACHE / f"{self.kind}-{self.version()}"
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / f"{self.kind}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                fresh = self.home / "fresh"
                self._give(self.home)
                self.initialise(fresh)
                part = template.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(fresh, part, symlinks=True)
                shutil.rmtree(fresh)
                part.rename(template)
        return template

    def _give(self, folder: Path) -> None:
        """The folder and all in it belong to the user that the server runs as."""
        if os.getuid() != 0:
            return
        user = account(self.account)
        os.chown(folder, user.pw_uid, user.pw_gid)
        for parent, folders, files in os.walk(folder):
            for name in folders + files:
                os.lchown(Path(parent) / name, user.pw_uid, user.pw_gid)

    def _as_user(self) -> dict[str, Any]:
        place: dict[str, Any] = {"cwd": str(self.home)}
        if os.getuid() == 0:
            user = account(self.account)
            place |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return place

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, **self._as_user())
        if done.returncode:
            raise ServerError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
        return str(done.stdout)

    def tail(self, lines: int = 30) -> str:
        """The end of the server's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _name(self) -> str:
        return f"t{os.getpid()}_{next(self._names)}"


class PostgresServer(Server):
    """PostgreSQL in New York with a linguistic collation, logical WAL and no fsync (unless `durable`)."""

    kind = "postgresql"
    account = "postgres"

    def version(self) -> str:
        version = str(re.findall(r"[\d.]+", self._run([self.program("postgres"), "--version"]))[0]).rstrip(".")
        if (other := other_postgresql()) and version != other.name:
            raise ServerError(f"{other} should hold PostgreSQL {other.name}, and holds {version}")
        return version

    def program(self, name: str) -> str:
        """The server's own program, of the version asked for. A client's (psql, pg_dump) is always the system's."""
        folder = other_postgresql()
        if folder is None:
            return program(name)
        if os.getuid() == 0 and not all(x.stat().st_mode & 0o001 for x in folder.resolve().parents):
            # The server's user may not enter the folder: it gets a copy, which goes with the server.
            copy = self.home / folder.name
            if not copy.exists():
                shutil.copytree(folder, copy, symlinks=True)
                self._give(self.home)
            folder = copy
        return str(folder / "bin" / name)

    def dumpable(self) -> bool:
        """Can the system's pg_dump read this server? It refuses those that are newer than itself."""
        tool = re.findall(r"\d+", self._run([program("pg_dump"), "--version"]))[0]
        return int(tool) >= int(self.version().split(".")[0])

    def initialise(self, data: Path) -> None:
        secret = self.home / "secret"
        secret.write_text(PASSWORD)
        self._give(self.home)
        command = [self.program("initdb"), "-D", str(data), "-U", ADMIN, "--pwfile", str(secret), "--no-sync"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256"]
        if int(self.version().split(".")[0]) >= 15:
            command += ["--locale-provider=icu", "--icu-locale=en-US"]
        self._run(command)
        secret.unlink()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.home,
            "wal_level": "logical",
            "max_replication_slots": 50,
            "max_wal_senders": 50,
            "max_connections": 100,
            "shared_buffers": "64MB",
            "max_wal_size": "1GB",
            "timezone": "America/New_York",
            "log_timezone": "UTC",
            "client_min_messages": "notice",
            "log_min_messages": "warning",
            "autovacuum_naptime": "10s",
        }
        if not self.durable:
            # Commits are still handed to the operating system, so `kill` loses none of them.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        flags = [x for name, value in settings.items() for x in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self.data), *flags, *self.options]

    def own(self) -> bool:
        with self.connect("postgres") as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            return row is not None and Path(row[0]).resolve() == self.data.resolve()

    def dsn(self, database: str, user: str = ADMIN, password: str = PASSWORD) -> str:
        """For psycopg and libpq: by TCP, with a password."""
        return f"host={self.host} port={self.port} dbname={database} user={user} password={password}"

    def url(self, database: str, user: str = ADMIN) -> str:
        """For `accord.toml`; the password goes apart."""
        return f"postgresql://{user}@{self.host}:{self.port}/{database}"

    def connect(self, database: str, user: str = ADMIN, password: str = PASSWORD) -> psycopg.Connection[Any]:
        """A connection of the test's own, autocommit."""
        return psycopg.connect(self.dsn(database, user, password), autocommit=True, connect_timeout=10)

    def create_database(self, name: str | None = None) -> str:
        name = name or self._name()
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return name

    def drop_database(self, name: str) -> None:
        with self.connect("postgres") as connection:
            slots = "FROM pg_replication_slots WHERE database = %s"
            connection.execute(f"SELECT pg_terminate_backend(active_pid) {slots} AND active", [name])
            end = time.monotonic() + 5
            while connection.execute(f"SELECT 1 {slots} AND active", [name]).fetchone() and time.monotonic() < end:
                time.sleep(0.02)
            connection.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots}", [name])
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def create_user(self, name: str, password: str = PASSWORD) -> str:
        """An account without any right, shared by all databases of the server; no error if it is there already."""
        with self.connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
                connection.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'")
        return name


class MariaServer(Server):
    """MariaDB two hours east of UTC, strict, row binlog, utf8mb4; commits do not wait for the disk unless `durable`."""

    kind = "mariadb"
    account = "mysql"

    def version(self) -> str:
        return str(re.findall(r"\d+\.\d+\.\d+", self._run([program("mariadbd"), "--version"]))[0])

    def initialise(self, data: Path) -> None:
        command = [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        command += ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
        self._run(command)

    @property
    def socket_path(self) -> Path:
        return self.home / "server.sock"

    def command(self) -> list[str]:
        first = self.home / "first.sql"
        first.write_text(
            f"CREATE USER IF NOT EXISTS '{ADMIN}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION;\n"
        )
        first.chmod(0o644)
        settings = {
            "datadir": self.data,
            "bind-address": self.host,
            "port": self.port,
            "socket": self.socket_path,
            "pid-file": self.home / "server.pid",
            "init-file": first,
            "log-error": self.log,
            "tmpdir": self.home,
            "server-id": 1,
            "log-bin": "binlog",
            "binlog-format": "ROW",
            "binlog-row-image": "FULL",
            "binlog-row-metadata": "FULL",
            "log-bin-trust-function-creators": 1,
            "character-set-server": "utf8mb4",
            "collation-server": "utf8mb4_general_ci",
            "default-time-zone": "+02:00",
            "sql-mode": "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "48M",
            "innodb-flush-log-at-trx-commit": 1 if self.durable else 2,  # 2: `kill` loses no commit
            "sync-binlog": 1 if self.durable else 0,
            "performance-schema": "OFF",
            "max-connections": 100,
            "local-infile": 0,
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        if not self.durable:
            flags.append("--skip-innodb-doublewrite")
        return [program("mariadbd"), "--no-defaults", "--skip-name-resolve", *flags, *self.options]

    def own(self) -> bool:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@datadir")
            row = cursor.fetchone()
            return row is not None and Path(row[0]).resolve() == self.data.resolve()

    def url(self, database: str, user: str = ADMIN) -> str:
        """For `accord.toml`; the password goes apart."""
        return f"mariadb://{user}@{self.host}:{self.port}/{database}"

    def connect(
        self, database: str | None = None, user: str = ADMIN, password: str = PASSWORD
    ) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        """A connection of the test's own, autocommit."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=10,
            ssl_disabled=True,  # else each connection reads the machine's certificates: 50 ms
        )

    def create_database(self, name: str | None = None) -> str:
        name = name or self._name()
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}`")
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def create_user(self, name: str, password: str = PASSWORD) -> str:
        """An account without any right, shared by all databases of the server; no error if it is there already."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE USER IF NOT EXISTS '{name}'@'%' IDENTIFIED BY '{password}'")
        return name


def other_postgresql() -> Path | None:
    """The PostgreSQL that the environment asks for."""
    if not (name := os.environ.get(OTHER_POSTGRESQL)):
        return None
    folder = Path(name)
    if not (folder / "bin" / "postgres").exists():
        raise ServerError(
            f"{OTHER_POSTGRESQL}: no server in {name}. What to do: python tests/install_postgresql_versions.py"
        )
    return folder.resolve()


def program(name: str) -> str:
    """Where a server's program is: on the path, or where Debian puts it; the newest version wins."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[4]))
    if versions:
        return str(versions[-1])
    raise ServerError(f"{name} is not installed. What to do: tests/install_servers.sh")


def account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ServerError(
            f"there is no user {name} to run the server as. What to do: tests/install_servers.sh"
        ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    """Direct children of a process, as Linux lists them."""
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def wait_gone(pids: Sequence[int], seconds: float = 10.0) -> None:
    """Wait until none of these processes lives (a zombie counts as gone)."""
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            raise ServerError(f"processes {pids} do not end")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
