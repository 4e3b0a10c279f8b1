"""A Dagster process to be killed, or one that comes after it: `worker.py first RUN`, `worker.py again KILLED_RUN`."""

import sys
import warnings
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import RESUME_RETRY_TAG

warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # Dagster's own use of its Pipes
sys.path.insert(0, str(Path(__file__).parents[1]))
from scenes.definitions import defs, patient_count_job  # noqa: E402  # found by the path above

what, run = sys.argv[1:]
with dg.DagsterInstance.get() as instance:
    if what == "first":
        job = defs.resolve_job_def("patient_count_job")
        ran = job.execute_in_process(instance=instance, run_id=run)
    else:
        options = dg.ReexecutionOptions.from_failure(run, instance)
        tags = {RESUME_RETRY_TAG: "true"}  # as "from failure" in the UI, and run retries, set it
        job = dg.reconstructable(patient_count_job)
        ran = dg.execute_job(job, instance=instance, reexecution_options=options, tags=tags)
    print(f"\n{ran.run_id}")
sys.exit(not ran.success)
