"""Asset checks about jobs."""
# No lazy annotations here: Dagster reads them when the check is made.

import dagster as dg

from dagster_slurm.core import right_sizing
from dagster_slurm.pipes.past import jobs_of


def build_right_sizing_check(
    asset: dg.AssetsDefinition | dg.AssetKey | str,
    *,
    name: str = "right_sizing",
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetChecksDefinition:
    """Return a check that fails if the asset's jobs ask for far more than they use.

    It looks at the latest 12 materializations, and says nothing before there are three. It talks to no cluster.

    Args:
        asset: whose jobs.
        name: of the check.
        severity: of a failed check.
    """
    key = asset.key if isinstance(asset, dg.AssetsDefinition) else dg.AssetKey.from_coercible(asset)

    @dg.asset_check(  # pyright: ignore[reportUnknownMemberType]
        asset=key, name=name, description="Its jobs ask for about as much memory, CPUs and time as they use."
    )
    def right_size(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        runs = jobs_of(context.instance, key, right_sizing.MOST_RUNS)
        said = right_sizing.hints(runs)
        metadata = {"runs": dg.MetadataValue.int(len(runs)), "hints": dg.MetadataValue.text("; ".join(said) or "none")}
        return dg.AssetCheckResult(passed=not said, severity=severity, metadata=metadata)

    return right_size
