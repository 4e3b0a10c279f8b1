"""Our errors as Dagster's: the one place where that is done."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from dagster_slurm.core.facts import Fact
from dagster_slurm.errors import DagsterSlurmError, JobError


class SlurmFailure(dg.Failure):
    """What ends a step that did not go well.

    Not chained to the error it stands for, since Dagster would print all of it twice.

    Attributes:
        error: the typed error.
    """

    def __init__(self, error: DagsterSlurmError, metadata: dict[str, dg.MetadataValue]) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - Dagster's own
            str(error), metadata=metadata, allow_retries=error.allow_retries
        )
        self.error = error


def failure(
    error: DagsterSlurmError,
    facts: dict[str, Fact] | None = None,
    more: Mapping[str, dg.MetadataValue] | None = None,
) -> SlurmFailure:
    """Return the failure that ends the step: its description says all, its metadata can be searched."""
    cause = error.cause if isinstance(error, JobError) else type(error).__name__
    metadata: dict[str, dg.MetadataValue] = {
        "slurm/error": dg.MetadataValue.text(type(error).__name__),
        "slurm/cause": dg.MetadataValue.text(cause),
        **namespaced(facts or {}),
        **(more or {}),
    }
    if error.hint:
        metadata["slurm/what_to_do"] = dg.MetadataValue.text(error.hint)
    if error.log_tail and error.log_tail.strip():
        metadata["slurm/log_tail"] = dg.MetadataValue.md(f"```\n{error.log_tail.strip()}\n```")
    return SlurmFailure(error, metadata)


def namespaced(facts: Mapping[str, Fact], component: str = "") -> dict[str, dg.MetadataValue]:
    """Return facts as metadata, of a component below its name: numbers can be plotted, the run directory is a path."""
    prefix = f"{component}/" if component else ""
    return {f"{prefix}slurm/{name}": _value(name, value) for name, value in facts.items()}


def _value(name: str, value: Fact) -> dg.MetadataValue:
    if name in ("run_directory", "output_path"):
        return dg.PathMetadataValue(str(value))
    if name == "usage":
        return dg.MetadataValue.md(str(value))
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    return dg.MetadataValue.text(value)
