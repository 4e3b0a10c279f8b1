"""Runs many small programs, each in a process and folder of its own, for the price of one import of Dagster.

``python fences.py FOLDER``: each ``NAME.py`` in the folder runs in ``NAME/`` below it; exit code and output are written
to ``NAME.json``. A process of its own, since pytest has threads, and what has threads must not fork.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path

# what nearly all of them import
import dagster  # noqa: F401

import dagster_slurm.resources.compute  # noqa: F401


def run(program: Path) -> None:
    """Run one to its end."""
    folder, log = program.with_suffix(""), program.with_suffix(".log")
    folder.mkdir()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(folder)
            for stream in (1, 2):
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
            sys.path.insert(0, str(folder))
            runpy.run_path(str(program), run_name="__main__")
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent tells of it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    said = log.read_text(errors="replace") if log.exists() else ""
    program.with_suffix(".json").write_text(json.dumps({"code": os.waitstatus_to_exitcode(status), "said": said}))


if __name__ == "__main__":
    for found in sorted(Path(sys.argv[1]).resolve().glob("*.py")):
        run(found)
