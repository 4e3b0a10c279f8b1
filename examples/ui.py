"""Dagster's UI over the bike counters, with finished, failed and plotted runs already in it.

The first start makes the runs: the assets once per week of data, so that their numbers grow in the plots, three
stations' profiles, and one that fails because its counter is dead.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

from demo import HERE, HOME, PARTITIONS, prepare_home, real_cluster, this_machine

WEEKS = ("2024-05-12", "2024-05-19", "2024-05-26", "2024-06-02", "2024-06-09", "2024-06-16")
DEAD = "old-tannery"
PREFERRED_PORT = 3000
PATIENCE = 120.0


def free_port() -> int:
    """Return Dagster's usual port if it is free, else another."""
    for port in (PREFERRED_PORT, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return tried.getsockname()[1]
    raise OSError("no port is free")


def make_runs() -> None:
    """Make the runs that the UI shows, unless they are there already."""
    done = HOME / "runs_made"
    if done.exists():
        return
    from bike_counters.definitions import defs  # noqa: PLC0415  # slow to import, and only needed here
    from progress import Progress  # noqa: PLC0415

    progress = Progress()
    for week in WEEKS:
        print(f"-- the readings until {week}", flush=True)
        progress.run(defs, "city", config={"ops": {"readings": {"config": {"until": week}}}})
    print("-- the profiles of some stations; the last one fails, and should", flush=True)
    for partition in (*PARTITIONS, DEAD):
        progress.run(defs, "station", partition=partition)
    if set(progress.failures) != {f"station_profile[{DEAD}]"}:
        sys.exit("ui: the runs did not end as they should")
    done.touch()


def serve(port: int) -> int:
    """Start the UI, say where it is, and wait for its end."""
    command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    definitions = HERE / "bike_counters" / "definitions.py"
    log = (HOME / "ui.log").open("ab")
    server = subprocess.Popen([*command, "--python-file", str(definitions)], stdout=log, stderr=log, cwd=HERE)
    try:
        wait_until_up(server, port)
        print(f"\nDagster's UI: http://127.0.0.1:{port}   (its log: {log.name}; Ctrl-C ends it)", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)


def wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    """Return when it listens."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    sys.exit(f"ui: the server did not start; see {HOME / 'ui.log'}")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: 3000, or another if that is taken")
    parser.add_argument("--slurm", action="store_true", help="what the UI starts runs on a real cluster")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prepare_home()
    this_machine()
    sys.path.insert(0, str(HERE))
    os.chdir(HERE)
    make_runs()
    if given.slurm:
        real_cluster()
    return serve(given.port or free_port())


if __name__ == "__main__":
    sys.exit(main())
