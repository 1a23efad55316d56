"""A real PostgreSQL server on the loopback interface, from Debian's package, and OpenBao's database engine on it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.cluster.processes import Process
from tests.stores.openbao import OpenBao
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PASSWORD = "password-of-the-tests"
# Nobody but this server's own clients connects to it.
_SETTINGS = ("fsync=off", "unix_socket_directories=", "log_connections=on", "timezone=UTC")
_CREATE = """CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"""


def programs() -> Path | None:
    """The directory of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found and shutil.which("psql") else None


class Postgres:
    """A context manager: a new server with an administrator, whose files are removed at the end."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address, self.port = address, free_port()
        found = programs()
        assert found is not None
        # In a directory of its own: the server does not run as root, who alone can enter pytest's.
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._directory / "data"
        self._initdb = [str(found / "initdb"), f"--pgdata={self._data}", "--username=admin", "--auth=scram-sha-256"]
        settings = (*_SETTINGS, f"listen_addresses={address}", f"port={self.port}")
        command = [str(found / "postgres"), "-D", str(self._data), *(f"--{setting}" for setting in settings)]
        self.log = self._directory / "postgres.log"
        self._process = Process("postgres", [*_as_postgres(), *command], self.log)

    def __enter__(self) -> Self:
        try:
            password = self._directory / "password"
            password.write_text(PASSWORD)
            if os.getuid() == 0:
                for path in (self._directory, password):
                    shutil.chown(path, "postgres")
            command = [*_as_postgres(), *self._initdb, f"--pwfile={password}", "--no-sync"]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            self._process.start()
            wait_until(self._answers, f"PostgreSQL to answer: {self.log}", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stop()
        shutil.rmtree(self._directory)

    def query(self, sql: str, user: str = "admin", password: str = PASSWORD) -> list[str]:
        """The lines of a statement's result; raises CalledProcessError."""
        url = f"postgresql://{user}@{self.address}:{self.port}/postgres"
        command = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={sql}", url]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PGPASSWORD": password},
        )
        return done.stdout.splitlines()

    def users(self) -> list[str]:
        """The users that the engine has made."""
        return self.query("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> 'admin' ORDER BY 1")

    def may_log_in(self, user: str, password: str) -> bool:
        """Whether somebody with this name and password gets in."""
        try:
            return self.query("SELECT current_user", user, password) == [user]
        except subprocess.CalledProcessError:
            return False

    def _answers(self) -> bool:
        self._process.check()
        try:
            return self.query("SELECT 1") == ["1"]
        except subprocess.CalledProcessError:
            return False


def enable_database(bao: OpenBao, postgres: Postgres, *roles: str, ttl: str = "1h", max_ttl: str = "24h") -> None:
    """The engine at database/, with roles that make users."""
    bao.write("sys/mounts/database", type="database")
    bao.write(
        "database/config/postgres",
        plugin_name="postgresql-database-plugin",
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@{postgres.address}:{postgres.port}/postgres",
        username="admin",
        password=PASSWORD,
        allowed_roles=list(roles),
    )
    for role in roles:
        database_role(bao, role, ttl=ttl, max_ttl=max_ttl)


def database_role(bao: OpenBao, name: str, *, ttl: str, max_ttl: str) -> None:
    """A role of the engine."""
    bao.write(
        f"database/roles/{name}",
        db_name="postgres",
        creation_statements=[_CREATE],
        default_ttl=ttl,
        max_ttl=max_ttl,
    )


def _as_postgres() -> list[str]:
    """What starts a program as a user that PostgreSQL accepts."""
    if os.getuid() != 0:
        return []
    group = pwd.getpwnam("postgres").pw_gid
    return ["setpriv", "--reuid=postgres", f"--regid={group}", "--clear-groups", "--"]
