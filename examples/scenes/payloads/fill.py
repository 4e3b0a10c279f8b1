"""Fills memory, ten MiB at a time."""

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    filled = []
    for mebibytes in range(10, pipes.get_extra("mebibytes") + 1, 10):
        filled.append(b"x" * (10 << 20))
        print("filled", mebibytes, "MiB", flush=True)
