"""Stand-in for pixi-pack: takes the documented command lines of 0.6 and 0.7, and makes packs of the documented layout.

Packages come from where the lock says; py-rattler reads it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.parse
from pathlib import Path

import rattler

_UNPACK = Path(__file__).with_name("pixi_unpack.py")
#: what the real one writes with --create-executable: a script that holds the pack and pixi-unpack
_EXECUTABLE = """#!/usr/bin/env bash
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed -n '/^@@PACK@@$/,/^@@UNPACK@@$/p' "$0" | sed '1d;$d' | base64 -d >"$folder/environment.tar"
sed -n '/^@@UNPACK@@$/,$p' "$0" | sed '1d' | base64 -d >"$folder/pixi-unpack"
/usr/bin/python3 "$folder/pixi-unpack" "$@" "$folder/environment.tar"
exit
@@PACK@@
{pack}
@@UNPACK@@
{unpack}
"""


def arguments(version: tuple[int, ...], words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    if version < (0, 7):
        parser.add_argument("pack", choices=["pack"])
        parser.add_argument("--manifest-file", dest="manifest", required=True)
    else:
        parser.add_argument("manifest", nargs="?", default=".")
    if version >= (0, 7, 6):
        parser.add_argument("--directory-only", action="store_true")
    parser.add_argument("--environment", default="default")
    parser.add_argument("--platform", default="linux-64")
    parser.add_argument("--create-executable", action="store_true")
    parser.add_argument("--output-file", required=True)
    parser.add_argument("--inject", action="append", default=[])
    parser.add_argument("--use-cache")
    return parser.parse_args(words)


def main() -> None:
    version = tuple(int(part) for part in os.environ["STAND_IN_VERSION"].split("."))
    if "--version" in sys.argv:
        print("pixi-pack", os.environ["STAND_IN_VERSION"])
        return
    asked = arguments(version, sys.argv[1:])
    manifest = Path(asked.manifest)
    project = manifest if manifest.is_dir() else manifest.parent
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "environment"
        collect(project / "pixi.lock", asked.environment, asked.platform, asked.inject, made)
        out = Path(asked.output_file)
        if getattr(asked, "directory_only", False):
            shutil.copytree(made, out)
        else:
            pack = as_tar(made)
            out.write_bytes(pack)
            if asked.create_executable:
                texts = {
                    name: base64.encodebytes(data).decode()
                    for name, data in (("pack", pack), ("unpack", _UNPACK.read_bytes()))
                }
                out.write_text(_EXECUTABLE.format(**texts))


def collect(lock: Path, environment: str, platform: str, inject: list[str], made: Path) -> None:
    """Lay out a pack: the packages in a channel, their index, and what it is."""
    found = rattler.LockFile.from_path(lock).environment(environment)
    where = next((item for item in found.platforms() if str(item.name) == platform), None) if found else None
    if found is None or where is None:
        sys.exit(f"platform or environment not found in lockfile: {environment} {platform}")
    files: list[tuple[str, bytes]] = []
    for record in found.conda_repodata_records_for_platform(where) or []:
        content = Path(urllib.parse.urlsplit(record.url).path).read_bytes()
        if record.sha256 and hashlib.sha256(content).digest() != record.sha256:
            sys.exit(f"could not download package: hash mismatch of {record.file_name}")
        files.append((f"channel/{record.subdir}/{record.file_name}", content))
    files += [(f"channel/noarch/{Path(path).name}", Path(path).read_bytes()) for path in inject]
    index = {"packages": {Path(name).name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files}}
    files.append(("channel/noarch/repodata.json", json.dumps(index, sort_keys=True).encode()))
    files.append(("pixi-pack.json", json.dumps({"version": "1", "platform": platform}).encode()))
    files.append(("environment.yml", b"name: environment\n"))
    for name, data in files:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(data)


def as_tar(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, arcname=".")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
