"""``dagster_slurm.SlurmScriptComponent``: a script and its assets, as YAML."""
# No lazy annotations here: Dagster reads them when the class is made.

import os
import shlex
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster.components.lib.executable_component.component import ExecutableComponent
from dagster.components.lib.executable_component.script_utils import ScriptSpec
from pydantic import Field, field_validator

from dagster_slurm.components import launchers
from dagster_slurm.core.options import from_options
from dagster_slurm.core.retries import policy
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.resources.compute import ComputeResource
from dagster_slurm.resources.modes import ExecutionMode

#: marks assets in the UI; Dagster allows three kinds
_KIND, _MOST_KINDS = "slurm", 3
_SCRIPT = "script.py"
_SCRIPT_TEXT = '''"""Runs where the component says: here, or as a Slurm job."""

from dagster_pipes import open_dagster_pipes


def main() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization(metadata={"rows": 0})


if __name__ == "__main__":
    main()
'''


class SlurmScriptScaffolder(dg.Scaffolder[Any]):
    """Writes a component with a script that runs as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write ``defs.yaml`` and the script."""
        name = request.target_path.name
        attributes: dict[str, Any] = {
            "execution": {"path": _SCRIPT},
            "assets": [{"key": name}],
            "resources": {"cpus": 1, "mem": "1G", "time_limit": "00:10:00"},
        }
        dg.scaffold_component(request, attributes)
        script = request.target_path / _SCRIPT
        if not script.exists():
            script.write_text(_SCRIPT_TEXT, encoding="utf-8")


@dg.scaffold_with(SlurmScriptScaffolder)
class SlurmScriptComponent(ExecutableComponent):
    """A script with the assets and checks that it is responsible for, run by a :class:`ComputeResource`.

    The YAML is that of ``dagster.PythonScriptComponent``: changing its ``type:`` line moves a script to the cluster.
    """

    execution: ScriptSpec
    resources: dict[str, Any] | None = Field(
        default=None,
        description="What it needs: partition, cpus, mem, ... Quote time limits: YAML takes 10:00:00 for a number.",
    )
    environment: str | dict[str, Any] | None = Field(
        default=None, description='Its Python environment: "uv", "plain", a path on the cluster, {uv: {...}}.'
    )
    launcher: str | dict[str, Any] | None = Field(
        default=None, description='How it is started: "bash", "ray", "spark", or {ray: {num_gpus_per_node: 2}}.'
    )
    fetch: list[str] | None = Field(
        default=None, description='Small files of its result to bring back: ["metrics.json", "plots/*.png"].'
    )
    retry: dict[str, Any] | None = Field(
        default=None,
        description="What is submitted again by itself: {max_retries: 2, on_timeout: continue}; see SlurmRetryPolicy.",
    )
    mode: str | None = Field(default=None, description="Where it runs, instead of what the resource says.")
    extras: dict[str, Any] | None = Field(default=None, description="Values for the script, through Dagster Pipes.")
    compute: str | None = Field(
        default=None, description="Name of a ComputeResource of the project. Without it, the environment says."
    )

    @field_validator("resources", "launcher", "retry", "mode")
    @classmethod
    def _understood(cls, value: Any, info: Any) -> Any:
        """Refuse when definitions are loaded what would fail in each run."""
        try:
            if value is not None and info.field_name == "resources":
                from_options(value)
            elif value is not None and info.field_name == "launcher":
                launchers.named(value)
            elif value is not None and info.field_name == "retry":
                policy(value)
            elif value is not None:
                ComputeResource(mode=value).execution_mode()
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def op_spec(self) -> Any:
        """The op's name and tags; its name is the script's without more."""
        return self._named

    @cached_property
    def _named(self) -> ScriptSpec:
        return ScriptSpec.with_script_stem_as_default_name(self.execution)

    @property
    def resource_keys(self) -> set[str]:
        """The resource that it names."""
        return set() if self.compute is None else {self.compute}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the assets, marked as Slurm's unless they can only be local."""
        if self.mode == ExecutionMode.LOCAL.value:
            return super().build_defs(context)
        return super().build_defs(context).permissive_map_resolved_asset_specs(_marked, None)

    def invoke_execute_fn(self, context: Any, component_load_context: dg.ComponentLoadContext) -> Iterable[Any]:
        """Run the script to its end; return what it reported."""
        compute = self._compute(context)
        return compute.run(
            context=context,
            payload_path=self._payload(Path(component_load_context.path)),
            resources=from_options(self.resources),
            environment=self.environment,
            launcher=None if self.launcher is None else launchers.named(self.launcher),
            extras=self.extras,
            fetch=self.fetch,
            retry=None if self.retry is None else policy(self.retry),
        )

    def _compute(self, context: Any) -> ComputeResource:
        compute: ComputeResource = (
            ComputeResource.from_env() if self.compute is None else getattr(context.resources, self.compute)
        )
        return compute if self.mode is None else compute.model_copy(update={"mode": self.mode})

    def _payload(self, folder: Path) -> str | list[str]:
        """Return the script, with its arguments if it has any."""
        path = folder / self.execution.path
        given = self.execution.args
        args = shlex.split(given) if isinstance(given, str) else list(given or ())
        # in a command an absolute path means a file of the target's
        return [os.path.relpath(path), *args] if args else str(path)


def _marked(spec: dg.AssetSpec) -> dg.AssetSpec:
    kinds = {*spec.kinds, _KIND}
    return spec if len(kinds) > _MOST_KINDS else cast("Any", spec).replace_attributes(kinds=kinds)
