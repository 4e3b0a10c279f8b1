"""A Charliecloud image without content of its own: the host's programs are bound into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: options of ``ch-run`` that such an image needs
BINDS = ("--bind=/usr:/usr",)
#: lies in the image alone: whoever sees it is inside
MARK = "/inside"

_FOLDERS = "dev etc home mnt opt proc root run srv sys tmp usr var"


def make(image: Path) -> Path:
    """Make the image; return its folder."""
    for folder in _FOLDERS.split():
        (image / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (image / name).symlink_to(f"usr/{name}")
    # ch-run binds the host's over them
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (image / "etc" / name).touch()
    (image / MARK.lstrip("/")).touch()
    return image


def entries(image: Path) -> Iterator[Path]:
    """Yield all of it, the folder first."""
    yield image
    yield from image.rglob("*")
