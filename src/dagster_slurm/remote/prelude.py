"""Runs programs on the login node as a job would start them: after the prelude (``module load ...``)."""

import os
import subprocess
from typing import Dict, List, NamedTuple

#: what a user's shell or another tool left behind would change what we do here
_FOREIGN = ("UV_", "PIP_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "SLURM_", "SBATCH_")

# `module` is a shell function that only login shells define; the prelude comes in a variable, and not on a command line
# that others can read.
_SCRIPT = r"""
for init in "${MODULESHOME:-/nonexistent}/init/bash" "${LMOD_PKG:-/nonexistent}/init/bash" \
    /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh /usr/share/modules/init/bash \
    /usr/share/lmod/lmod/init/bash; do
    [ -n "$DAGSTER_SLURM_PRELUDE" ] || break
    type module >/dev/null 2>&1 && break
    [ ! -r "$init" ] || . "$init"
done
exec 3>&1 >&2
trap 'echo "the prelude failed at line $LINENO" >&2; exit 90' ERR
eval "$DAGSTER_SLURM_PRELUDE"
trap - ERR
unset DAGSTER_SLURM_PRELUDE
exec >&3 3>&-
exec "$@"
"""
#: exit code by which the script says that the prelude failed
PRELUDE_FAILED = 90


Done = NamedTuple("Done", [("code", int), ("out", str), ("err", str)])
"""Exit code, standard output and error."""


def run(prelude: List[str], argv: List[str], variables: Dict[str, str], timeout: float) -> Done:
    """Run a program after the prelude, politely and at most ``timeout`` seconds.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    environment.update(variables, DAGSTER_SLURM_PRELUDE="\n".join(prelude))
    done = subprocess.run(
        ["nice", "-n", "10", "bash", "-c", _SCRIPT, "bash", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
