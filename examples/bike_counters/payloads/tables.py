"""What the payloads share: where tables lie, and how they are read and written. Standard library only."""

import csv
import os
from pathlib import Path


def folder(pipes):
    """Return the folder of the tables, made if need be: `~` and `$SCRATCH` mean those of the machine that computes."""
    path = Path(os.path.expandvars(pipes.get_extra("data_dir"))).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path


def read(path):
    """Return the rows of a CSV file as dictionaries."""
    with Path(path).open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def write(path, rows):
    """Write dictionaries as a CSV file: whole, or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def markdown(rows):
    """Return dictionaries as a table for Dagster's UI."""
    lines = [list(rows[0]), ["---"] * len(rows[0])] + [[str(value) for value in row.values()] for row in rows]
    return {"raw_value": "\n".join("| {} |".format(" | ".join(line)) for line in lines), "type": "md"}
