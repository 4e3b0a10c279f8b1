"""Each process draws its share of the years; the first one reports. What they found meets in the run directory."""

import os
import random
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes

rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
together = Path(os.environ["DAGSTER_SLURM_RUN_DIR"])
with open_dagster_pipes() as pipes:
    chance = random.Random(rank)
    draws = pipes.get_extra("draws") // world
    floods = sum(chance.random() < 0.01 for _ in range(draws))
    part = together / f"floods.{rank}.part"
    part.write_text(str(floods))
    part.rename(together / f"floods.{rank}")
    print(f"{floods} floods in {draws} years")
    if rank == 0:
        files = [together / f"floods.{number}" for number in range(world)]
        while not all(path.exists() for path in files):
            time.sleep(0.1)
        metadata = {"processes": world, "floods": sum(int(path.read_text()) for path in files)}
        pipes.report_asset_materialization(metadata=metadata)
