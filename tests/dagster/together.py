"""Components for tests: scripts in a folder of their own, and assets that run them as one job."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_slurm import ComputeResource
from dagster_slurm.managers import HetJobComponent
from tests.dagster.support import Bench, Failed, Payloads, Ran


class Parts:
    """Makes components of one job whose payloads are a few lines."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self.made: list[HetJobComponent] = []

    def pipes(self, name: str, body: str = "", **arguments: Any) -> "Parts":
        """A Python payload whose body runs with Pipes open, as ``pipes``."""
        return self._add(name, self._payloads.pipes(body), arguments)

    def shell(self, name: str, text: str, **arguments: Any) -> "Parts":
        return self._add(name, self._payloads.plain(text, "payload.sh"), arguments)

    def _add(self, name: str, path: Path, arguments: Mapping[str, Any]) -> "Parts":
        self.made.append(HetJobComponent(component_id=name, payload_path=path, **arguments))
        return self


def asset_of(parts: Parts, **arguments: Any) -> dg.AssetsDefinition:
    @dg.asset(name="both")
    def both(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run_heterogeneous(context=context, components=parts.made, **arguments)

    return both


def run(bench: Bench, parts: Parts, **arguments: Any) -> Ran:
    return bench.materialize(asset_of(parts, **arguments))


def failed(bench: Bench, parts: Parts, **arguments: Any) -> Failed:
    ran = run(bench, parts, **arguments)
    assert not ran.success
    assert ran.failure.kind == "SlurmFailure"
    return ran.failure
