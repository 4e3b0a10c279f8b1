"""Steps that a unit's script started beside its own: a launcher's ranks, a cluster's daemons.

They end with their script, which tells them. One that was killed could not, and within an allocation that goes on,
nobody else would end them.
"""

import glob
import os
import re
import subprocess
from typing import List

from . import rundir

#: seconds between TERM and KILL
_GRACE = 10
_STEP = re.compile(r"\d+\.\d+$")


def steps_of(directory: str, job: str) -> List[str]:
    """Return the steps that launchers noted in a run directory, as far as they are of this allocation."""
    found: List[str] = []
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.[0-9]*", "step"))):
        words = rundir.read_text(path).split()
        if words and _STEP.match(words[0]) and words[0].partition(".")[0] == job:
            found.append(words[0])
    return found


def end_steps(directory: str, job: str) -> None:
    """End what a unit's script left behind, which may tidy up; those that have ended are no concern of scancel's."""
    found = " ".join(steps_of(directory, job))
    if found:
        quiet, line = subprocess.DEVNULL, "scancel --signal=TERM %s; sleep %d; scancel %s" % (found, _GRACE, found)
        subprocess.Popen(["sh", "-c", line], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
