"""Draw the field that another job left: a PNG, written with what every Python has."""

import csv
import json
import os
import struct
import zlib
from array import array
from pathlib import Path

from dagster_pipes import open_dagster_pipes

#: colours from cold to hot
COLOURS = ((13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33))


def colour(part):
    """Return red, green and blue for a number from 0 to 1."""
    at = min(max(part, 0.0), 1.0) * (len(COLOURS) - 1)
    low = min(int(at), len(COLOURS) - 2)
    return bytes(round(a + (b - a) * (at - low)) for a, b in zip(COLOURS[low], COLOURS[low + 1]))


def png(rows, scale):
    """Return a picture of rows of numbers from 0 to 1, each a square of ``scale`` pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    lines = [b"\0" + b"".join(colour(part) * scale for part in row) for row in rows for _ in range(scale)]
    head = struct.pack(">IIBBBBB", len(rows[0]) * scale, len(rows) * scale, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(lines), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def read(folder):
    """Return the rows of the field."""
    with (folder / "field.json").open() as file:
        size = json.load(file)["size"]
    values = array("d")
    with (folder / "field.f64").open("rb") as file:
        values.fromfile(file, size * size)
    return [values[row * size : (row + 1) * size].tolist() for row in range(size)]


def main():
    """Read, draw and sum up."""
    with open_dagster_pipes() as pipes:
        rows = read(Path(os.environ["DAGSTER_SLURM_INPUT_TEMPERATURES"]))
        folder = Path(os.environ["DAGSTER_SLURM_OUTPUT_DIR"])
        with (folder / "heat_map.png").open("wb") as file:
            file.write(png([[value / 100 for value in row] for row in rows], scale=4))
        middle = rows[len(rows) // 2]
        with (folder / "middle.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["column", "temperature"])
            writer.writerows((column, round(value, 2)) for column, value in enumerate(middle) if column % 8 == 0)
        everything = sorted(value for row in rows for value in row)
        summary = {
            "median": everything[len(everything) // 2],
            "warm part": sum(v > 20 for v in everything) / len(everything),
        }
        with (folder / "summary.json").open("w") as file:
            json.dump(summary, file)
        pipes.report_asset_materialization(metadata=summary)


if __name__ == "__main__":
    main()
