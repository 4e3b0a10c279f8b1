"""The MariaDB of a cluster: reachable only through a socket in a folder of root's."""

from __future__ import annotations

import shutil

from testcluster.execute import run
from testcluster.layout import Layout


def install(layout: Layout) -> None:
    """Make the data folder, which takes about a second."""
    done = layout.database / "installed"
    if done.exists():
        return
    shutil.rmtree(layout.database, ignore_errors=True)
    layout.database.mkdir(mode=0o700)
    options = ["--no-defaults", f"--datadir={layout.database}/data", "--user=root", "--skip-test-db"]
    run(["mariadb-install-db", *options, "--auth-root-authentication-method=socket"])
    done.touch()


def command(layout: Layout) -> list[str]:
    """The server's command line: small, local, and without care for a power failure."""
    return [
        "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={layout.database}/data",
        f"--socket={layout.database_socket}",
        f"--pid-file={layout.run}/database.own-pid",
        "--skip-networking",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    ]


def create(layout: Layout) -> None:
    """Create slurmdbd's database."""
    query = "CREATE DATABASE IF NOT EXISTS slurm_acct_db"
    run(["mariadb", "--no-defaults", f"--socket={layout.database_socket}", "--user=root", "--execute", query])
