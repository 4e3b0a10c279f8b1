"""Real conda packages in a local ``file://`` channel and a pixi.lock of them, built and solved by py-rattler."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import rattler

#: what packages call the place that they will be installed at
_PLACEHOLDER = "/opt/placeholder_of_a_prefix_that_is_replaced"
#: a Python as far as payloads need one: the machine's, behind a script of a package
_PYTHON = f'#!/bin/sh\nexport DEMO_PREFIX={_PLACEHOLDER}\nexec /usr/bin/python3 "$@"\n'


def package(channel: Path, name: str, version: str, files: Mapping[str, str], *, needs: Sequence[str] = ()) -> Path:
    """Write a package of texts; those that name the prefix are marked as such."""
    place = channel / "noarch" / f"{name}-{version}-0.tar.bz2"
    place.parent.mkdir(parents=True, exist_ok=True)
    index = {
        "name": name, "version": version, "build": "0", "build_number": 0, "depends": list(needs),
        "subdir": "noarch", "noarch": "generic", "timestamp": 1_700_000_000_000,
    }  # fmt: skip
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "size_in_bytes": len(text.encode()),
            **({"file_mode": "text", "prefix_placeholder": _PLACEHOLDER} if _PLACEHOLDER in text else {}),
        }
        for path, text in files.items()
    ]
    about = {
        "info/index.json": json.dumps(index),
        "info/files": "\n".join(files),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
    }
    with tarfile.open(place, "w:bz2") as tar:
        for path, text in {**about, **files}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o755 if path.startswith("bin/") else 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    return place


def demo(channel: Path) -> None:
    """Write the packages of the demo: a Python, two that others need, and one more."""
    activation = f"export DEMO_ACTIVATED=yes DEMO_SHARE={_PLACEHOLDER}/share\n"
    package(channel, "python", "3.11.2", {"bin/python": _PYTHON, "etc/conda/activate.d/demo.sh": activation})
    package(channel, "hello", "1.0", {"share/hello.txt": "hello\n" * 50}, needs=["python"])
    package(channel, "world", "2.0", {"share/world.txt": "world\n"}, needs=["hello >=1.0"])
    package(channel, "more", "1.5", {"share/more.txt": "more\n"})


def lock(channel: Path, project: Path, environments: Mapping[str, Sequence[str]]) -> None:
    """Solve and write ``pixi.lock`` and a manifest for it."""
    asyncio.run(_lock(channel, project, environments))
    wanted = "".join(f'{name} = "*"\n' for name in environments["default"])
    text = f'[workspace]\nchannels = ["file://{channel}"]\nplatforms = ["linux-64"]\n[dependencies]\n{wanted}'
    (project / "pixi.toml").write_text(text)


async def _lock(channel: Path, project: Path, environments: Mapping[str, Sequence[str]]) -> None:
    await rattler.index.index_fs(channel)
    where = rattler.Channel(f"file://{channel}")
    platform = rattler.LockPlatform("linux-64")
    made = rattler.LockFile([platform])
    for name, wanted in environments.items():
        subdirs = [rattler.Subdir("linux-64"), rattler.Subdir("noarch")]
        records = await rattler.solve(sources=[where], specs=list(wanted), platforms=subdirs)
        made.set_channels(name, [rattler.LockChannel(f"file://{channel}")])
        for record in records:
            made.add_conda_package(name, platform, record)
    project.mkdir(parents=True, exist_ok=True)
    made.to_path(project / "pixi.lock")
