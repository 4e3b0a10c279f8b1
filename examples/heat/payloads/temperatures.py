"""Solve the heat equation on a square grid by explicit steps, and leave the field as a binary file."""

import json
import os
from array import array
from pathlib import Path

from dagster_pipes import open_dagster_pipes

HOT, COLD = 100.0, 0.0
#: the fraction of a difference that flows in one step; above 0.25 the scheme is unstable
FLOW = 0.24


def is_hole(row, column, size):
    """Whether a point lies in the cold hole, a disc right of the middle."""
    return (row - size * 0.5) ** 2 + (column - size * 0.65) ** 2 < (size * 0.12) ** 2


def solve(size, steps):
    """Return the temperatures, row by row."""
    field = [[HOT if column == 0 else COLD for column in range(size)] for _ in range(size)]
    inner = [
        (row, column) for row in range(1, size - 1) for column in range(1, size - 1) if not is_hole(row, column, size)
    ]
    for _ in range(steps):
        new = [line[:] for line in field]
        for row, column in inner:
            here, line = field[row][column], field[row]
            around = field[row - 1][column] + field[row + 1][column] + line[column - 1] + line[column + 1]
            new[row][column] = here + FLOW * (around - 4 * here)
        field = new
    return field


def main():
    """Compute and save."""
    with open_dagster_pipes() as pipes:
        size, steps = pipes.get_extra("size"), pipes.get_extra("steps")
        field = solve(size, steps)
        folder = Path(os.environ["DAGSTER_SLURM_OUTPUT_DIR"])
        with (folder / "field.f64").open("wb") as file:
            for line in field:
                array("d", line).tofile(file)
        with (folder / "field.json").open("w") as file:
            json.dump({"size": size, "steps": steps, "type": "float64, row by row"}, file)
        mean = sum(map(sum, field)) / size**2
        pipes.report_asset_materialization(metadata={"mean temperature": mean, "steps": steps})


if __name__ == "__main__":
    main()
