"""A program: runs one talking asset in Dagster, and prints when each line and log was said, and when it arrived."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from typing import Any

import dagster as dg

from benchmarks import assets, place
from dagster_slurm import ComputeResource

_SAID = re.compile(r"said at (\d+\.\d+)")


class Ear:
    """Stands where the step's standard output goes, and notes what arrives."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, float]] = []
        self.logs: list[tuple[float, float]] = []

    def write(self, text: str) -> int:
        """Note a line of the payload's."""
        self._note(text, self.lines)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def event(self, entry: Any, _cursor: object = None) -> None:
        """Note a log of the payload's, once Dagster has stored it."""
        self._note(entry.user_message, self.logs)

    def _note(self, text: str, where: list[tuple[float, float]]) -> None:
        now = time.time()
        where += [(float(said), now) for said in _SAID.findall(text)]


def main() -> None:
    """Listen to one job."""
    ear, run_id = Ear(), str(uuid.uuid4())
    variables = {name: os.environ[name] for name in ("BENCH_SECONDS", "BENCH_PAUSE")}
    talking = assets.asset("talking", place.PAYLOADS / "talk.py", variables)
    definitions = dg.Definitions([talking], resources={"compute": ComputeResource.from_env()})
    out, sys.stdout = sys.stdout, ear  # pyright: ignore[reportAttributeAccessIssue]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_event_listener(run_id, ear.event)
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, run_id=run_id)
    print(json.dumps({"lines": ear.lines, "logs": ear.logs}), file=out)


if __name__ == "__main__":
    main()
