"""The first stage of the forecast: what the second one reads lies in the folder that both see."""

import json
import os
from pathlib import Path

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    points = [(x, 2.0 * x + 1.0) for x in range(100)]
    (Path(os.environ["DAGSTER_SLURM_SHARED_DIR"]) / "points.json").write_text(json.dumps(points))
    pipes.report_asset_materialization(metadata={"points": len(points)})
