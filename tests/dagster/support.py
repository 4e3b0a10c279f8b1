"""What the tests of this folder share: payloads in a few words, and runs that can be looked at."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_slurm import ComputeResource
from dagster_slurm.pipes.failure import SlurmFailure

PIPES = "from dagster_pipes import open_dagster_pipes\n"


class Payloads:
    """Makes scripts in a folder of their own each, since the folder travels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def plain(self, text: str, name: str = "payload.py") -> Path:
        """A script as it stands."""
        self._count += 1
        path = self._folder / f"payload{self._count}" / name
        path.parent.mkdir(parents=True)
        path.write_text(textwrap.dedent(text))
        return path

    def pipes(self, body: str) -> Path:
        """A Python script whose body runs with Pipes open, as ``pipes``."""
        inner = textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ")
        return self.plain(f"import os, sys, time, json\n{PIPES}with open_dagster_pipes() as pipes:\n{inner}\n")


@dataclass(frozen=True)
class Ran:
    """A run in this process, and what Dagster has of it."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    @property
    def success(self) -> bool:
        return self.result.success

    def metadata(self, *key: str) -> dict[str, Any]:
        """Metadata of the materialization of an asset; of the only one, if none is named."""
        found = [event.step_materialization_data.materialization for event in self._events("ASSET_MATERIALIZATION")]
        if key:
            found = [materialization for materialization in found if list(materialization.asset_key.path) == list(key)]
        assert len(found) == 1, found
        return values(found[0].metadata)

    def materialized(self) -> list[str]:
        events = self._events("ASSET_MATERIALIZATION")
        return [event.step_materialization_data.materialization.asset_key.to_user_string() for event in events]

    def checks(self) -> dict[str, Any]:
        return {event.event_specific_data.check_name: event.event_specific_data for event in self.check_events()}

    def check_events(self) -> list[dg.DagsterEvent]:
        return self._events("ASSET_CHECK_EVALUATION")

    @property
    def failure(self) -> "Failed":
        """The failure of the only step that failed."""
        events = self._events("STEP_FAILURE")
        assert len(events) == 1, [event.message for event in events]
        data = events[0].step_failure_data
        assert data.user_failure_data is not None, data.error
        return Failed(
            data.user_failure_data.description or "",
            values(data.user_failure_data.metadata),
            data.error.cls_name if data.error else None,
        )

    def logged(self, level: str | None = None) -> list[str]:
        """What was written to the log of the run, without Dagster's own events."""
        return [
            entry.user_message
            for entry in self.instance.all_logs(self.result.run_id)
            if entry.dagster_event is None and (level is None or level_name(entry.level) == level)
        ]

    def _events(self, kind: str) -> list[dg.DagsterEvent]:
        return [event for event in self.result.all_events if event.event_type_value == kind]


@dataclass(frozen=True)
class Failed:
    """How a step failed, as Dagster has it."""

    text: str
    metadata: dict[str, Any]
    kind: str | None


class Bench:
    """Runs assets and jobs in this process, with an instance that stays and a resource."""

    def __init__(self, instance: dg.DagsterInstance, compute: ComputeResource, payloads: Payloads) -> None:
        self.instance = instance
        self.compute = compute
        self.payloads = payloads

    @property
    def on_cluster(self) -> bool:
        return self.compute.mode == "slurm"

    def materialize(self, *assets: Any, **options: Any) -> Ran:
        resources = {"compute": self.compute, **options.pop("resources", {})}
        result = dg.materialize(
            list(assets), resources=resources, instance=self.instance, raise_on_error=False, **options
        )
        return Ran(result, self.instance)

    def execute(self, job: dg.JobDefinition, **options: Any) -> Ran:
        result = job.execute_in_process(
            resources={"compute": self.compute}, instance=self.instance, raise_on_error=False, **options
        )
        return Ran(result, self.instance)

    def run(self, payload: Any, **arguments: Any) -> Ran:
        """Materialize an asset that runs a payload."""
        return self.materialize(asset_that_runs(payload, **arguments))

    def refused(self, payload: Any = ("true",), **arguments: Any) -> Failed:
        """Materialize an asset that must fail, and say how."""
        ran = self.run(payload, **arguments)
        assert not ran.success
        assert ran.failure.kind == "SlurmFailure"
        return ran.failure


def asset_that_runs(payload: Any, name: str = "one", **arguments: Any) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def one(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload, **arguments)

    return one


def values(metadata: Any) -> dict[str, Any]:
    return {name: getattr(value, "value", value) for name, value in metadata.items()}


def level_name(level: Any) -> str:
    return {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}[int(level)]


def error_of(failed: SlurmFailure) -> str:
    return type(failed.error).__name__


def words(command: Sequence[str]) -> list[str]:
    return [*command]
