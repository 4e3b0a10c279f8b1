"""Where the files of the gauges are."""

from pathlib import Path


def folder(pipes):
    """Return the folder between the assets; it is made if need be."""
    place = Path(pipes.get_extra("data")).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    return place
