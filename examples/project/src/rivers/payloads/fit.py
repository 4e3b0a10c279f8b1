"""The second stage: a line through the points."""

import json
import os
from pathlib import Path

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    points = json.loads((Path(os.environ["DAGSTER_SLURM_SHARED_DIR"]) / "points.json").read_text())
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    pipes.report_asset_materialization(metadata={"slope": round(slope, 6)})
