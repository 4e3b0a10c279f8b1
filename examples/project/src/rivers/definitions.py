"""What Dagster loads."""

import dagster as dg

from dagster_slurm import build_slurm_orphan_sensor
from rivers import assets, resources

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([assets]),
    resources={"short": resources.short(), "large": resources.large()},
    # jobs of runs that nobody retries do not compute for nobody
    sensors=[build_slurm_orphan_sensor("large")] if resources.deployment() == resources.PRODUCTION else [],
)
