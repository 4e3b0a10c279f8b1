"""Has environments built in a Slurm job: submitted until Slurm takes it, shared by all who ask, and waited for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagster_slurm.core.directives import directive
from dagster_slurm.environments import kept
from dagster_slurm.environments.environment import BuildJob, Site, Tell
from dagster_slurm.errors import SubmissionDelayed

#: seconds between two looks at the job
_LOOK = 3.0
#: seconds between two submissions that Slurm does not take for the moment: from, to
_AGAIN_FROM, _AGAIN_TO = 2.0, 60.0


@dataclass(frozen=True, kw_only=True)
class BuildInJob:
    """The build of one environment in a job.

    Args:
        site: where.
        job: how.
        about: its name, for people.
        programs: our modules that the job needs, by name.
        tell: hears what goes on.
    """

    site: Site
    job: BuildJob
    about: str
    programs: Mapping[str, str]
    tell: Tell

    def built(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have it built; return what :func:`dagster_slurm.remote.built.build` returned there.

        May be repeated, by any process: a job that waits or builds is adopted.

        Args:
            order: what to build.

        Raises:
            SubmissionRefused: Slurm will not take the job.
            EnvironmentNotBuilt: the build failed, or its job ended without a word.
        """
        answer, said = self._submitted(order), ""
        asked: dict[str, Any] = {
            "key": order["key"],
            "queue": list(self.job.queue),
            "force": bool(order.get("force")),
        }
        while "job" in answer:
            where = f"job {answer['job']} on {self.site.agent.name}"
            text = f"Environment {self.about} is built in {where}: {answer['state']}."
            if text != said:
                self.tell(text)
                said = text
            time.sleep(_LOOK)
            answer, _ = self.site.agent.request("build_status", base=self.site.base, say=self.site.absent, **asked)
        return answer

    def _submitted(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        name = job_name(self.site.base, order["key"])
        asked: dict[str, Any] = {
            "order": dict(order),
            "header": [directive("job-name", name), *self.job.header],
            "name": name,
            "submit": list(self.job.submit),
            "queue": list(self.job.queue),
            "programs": dict(self.programs),
            "python": self.site.python,
        }
        pause, said = _AGAIN_FROM, ""
        while True:
            answer, _ = self.site.agent.request("build_job", base=self.site.base, say=self.site.absent, **asked)
            if "refused" not in answer:
                return answer
            error = self.job.refusal(str(answer["refused"]), answer["code"], answer["command"])
            if not isinstance(error, SubmissionDelayed):
                raise error
            if str(error) != said:
                said = str(error)
                self.tell(f"The job that builds environment {self.about} is not submitted yet. {error}")
            time.sleep(pause)
            pause = min(pause * 2, _AGAIN_TO)


def job_name(base: str, key: str) -> str:
    """Return the name by which a build job is found again: one for each environment and folder."""
    return f"dagster-slurm-environment-{kept.fingerprint(base, key)[:12]}"
