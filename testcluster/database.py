"""The MariaDB of a cluster: reachable only through a socket in a folder of root's."""

from __future__ import annotations

import shutil

from testcluster.layout import Layout
from testcluster.machine import Machine


def install(machine: Machine) -> None:
    """Make the data folder, which takes about a second."""
    folder = machine.layout.database
    done = folder / "installed"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    (folder / "tmp").mkdir()
    options = [*_folders(machine.layout), "--skip-test-db", "--auth-root-authentication-method=socket"]
    machine.run(["mariadb-install-db", *options])
    done.touch()


def _folders(layout: Layout) -> list[str]:
    """Options of all programs. In /tmp each server that starts would remove the others' temporary tables."""
    return ["--no-defaults", "--user=root", f"--datadir={layout.database}/data", f"--tmpdir={layout.database}/tmp"]


def command(layout: Layout) -> list[str]:
    """The server's command line: small, local, and without care for a power failure."""
    return [
        "mariadbd",
        *_folders(layout),
        f"--socket={layout.database_socket}",
        f"--pid-file={layout.run}/database.own-pid",
        "--skip-networking",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    ]


def create(machine: Machine) -> None:
    """Create slurmdbd's database."""
    query = "CREATE DATABASE IF NOT EXISTS slurm_acct_db"
    client = ["mariadb", "--no-defaults", f"--socket={machine.layout.database_socket}", "--user=root"]
    machine.run([*client, "--execute", query])
