"""A rank that knows the others: an all-reduce over MASTER_ADDR and MASTER_PORT, as gloo does it; or a failure."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
PLACE = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


def connect() -> socket.socket:
    deadline = time.time() + 30
    while True:
        try:
            return socket.create_connection(PLACE, 5)
        except OSError:
            if time.time() > deadline:
                raise
            time.sleep(0.05)


def all_reduce(value: int) -> "list[dict[str, object]]":
    mine = {"rank": RANK, "value": value, "node": os.environ.get("SLURMD_NODENAME", "here"), **who()}
    if RANK:
        with connect() as peer, peer.makefile("rw") as file:
            file.write(json.dumps(mine) + "\n")
            file.flush()
            return json.loads(file.readline())
    found = [mine]
    with socket.create_server(("", PLACE[1])) as server:
        server.settimeout(30)
        files = [server.accept()[0].makefile("rw") for _ in range(WORLD - 1)]
        found += [json.loads(file.readline()) for file in files]
        for file in files:
            file.write(json.dumps(found) + "\n")
            file.flush()
    return found


def who() -> "dict[str, object]":
    numbers = {name: int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "WORLD_SIZE")}
    return {**numbers, "devices": os.environ.get("CUDA_VISIBLE_DEVICES", "")}


def saves(folder: str) -> None:
    """Save on TERM, and end well."""

    def save(_signal: int, _frame: object) -> None:
        Path(folder, f"saved.{RANK}").touch()
        sys.exit(0)

    signal.signal(signal.SIGTERM, save)
    Path(folder, f"begun.{RANK}").touch()
    time.sleep(60)


with open_dagster_pipes() as pipes:
    what = pipes.extras.get("what", "reduce")
    print(f"hello from {RANK} of {WORLD}", flush=True)
    if what == "save":
        saves(pipes.extras["folder"])
    if what == "fail" and pipes.extras["rank"] == RANK:
        print("this is the culprit", file=sys.stderr, flush=True)
        sys.exit(7)
    if what == "fail":
        time.sleep(60)
    while what == "hold" and not Path(pipes.extras["folder"], "go").exists():
        Path(pipes.extras["folder"], f"holds.{RANK}").touch()
        time.sleep(0.05)
    ranks = all_reduce(RANK + 1)
    total = sum(int(str(found["value"])) for found in ranks)
    print(f"the sum is {total}", flush=True)
    pipes.report_asset_materialization(metadata={"total": total, "ranks": ranks})
