"""A stand-in for torchrun: the same options and variables, without torch, which is too heavy for tests."""

import argparse
import os
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("nnodes", "nproc-per-node", "node-rank", "master-port", "max-restarts"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--master-addr", required=True)
    parser.add_argument("--no-python", action="store_true", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    count, workers = asked.nproc_per_node, []
    for local in range(count):
        variables = {
            "RANK": asked.node_rank * count + local,
            "LOCAL_RANK": local,
            "WORLD_SIZE": asked.nnodes * count,
            "LOCAL_WORLD_SIZE": count,
            "GROUP_RANK": asked.node_rank,
            "NODE_RANK": asked.node_rank,
            "MASTER_ADDR": asked.master_addr,
            "MASTER_PORT": asked.master_port,
            "TORCHELASTIC_RUN_ID": "none",
        }
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        workers.append(subprocess.Popen(asked.command, env=environment))
    codes = [worker.wait() for worker in workers]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
