"""Stand-in for pixi-unpack: ``pixi-unpack --output-directory FOLDER PACK``. It runs anywhere with Python 3.6 alone.

It leaves what the real one leaves: ``env/`` with the packages' files, their prefix replaced, and ``activate.sh``.
"""

import json
import shlex
import sys
import tarfile
import tempfile
from pathlib import Path


def main(arguments):
    if arguments[:1] != ["--output-directory"] or len(arguments) != 3:
        sys.exit("usage: pixi-unpack --output-directory FOLDER PACK")
    out, pack = Path(arguments[1]).absolute(), arguments[2]
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(pack) as tar:
            tar.extractall(temporary)
        if json.loads((Path(temporary) / "pixi-pack.json").read_text())["platform"] != "linux-64":
            sys.exit("The pack was created for a different platform")
        for package in sorted((Path(temporary) / "channel").rglob("*.tar.bz2")):
            install(package, out / "env")
    activate(out)


def install(package, prefix):
    with tarfile.open(str(package)) as tar:
        for entry in json.loads(tar.extractfile("info/paths.json").read().decode())["paths"]:
            member = tar.getmember(entry["_path"])
            content = tar.extractfile(member).read()
            if "prefix_placeholder" in entry:
                content = content.replace(entry["prefix_placeholder"].encode(), str(prefix).encode())
            target = prefix / entry["_path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(member.mode)


def activate(out):
    prefix = out / "env"
    lines = [f"export PATH={shlex.quote(str(prefix))}/bin:$PATH", f"export CONDA_PREFIX={shlex.quote(str(prefix))}"]
    lines += [f". {shlex.quote(str(script))}" for script in sorted(prefix.glob("etc/conda/activate.d/*.sh"))]
    (out / "activate.sh").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
