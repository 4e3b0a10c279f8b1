"""What the agent does for environments when it is asked; each may be repeated."""

from typing import Any, Dict, List

from . import build_jobs, built, housekeeping, packages, pythons, sharing
from .commands import Commands
from .refused import Refused

Head = Dict[str, Any]

ENVIRONMENT_REQUESTS = (
    "pythons",
    "packages",
    "seal",
    "build",
    "build_job",
    "build_status",
    "environments",
    "clean_environments",
)


class EnvironmentRequests:
    """The requests that concern environments, each answered once, in a thread of a small pool."""

    _commands: Commands

    def pythons(self, head: Head) -> Dict[str, Any]:
        """Say which Pythons a job would find."""
        sharing.check(head["base"], to_write=False)
        try:
            return {"pythons": pythons.find(head["base"], head["names"], head["prelude"])}
        except pythons.Unusable as error:
            raise Refused("prelude", str(error))  # noqa: B904

    def packages(self, head: Head) -> Dict[str, Any]:
        """Say which packages are missing, and how much of each is there."""
        sharing.check(head["base"], to_write=False)
        missing = packages.missing(head["base"], head["wanted"])
        if missing:
            sharing.check(head["base"], to_write=True)
        return {"missing": missing}

    def seal(self, head: Head) -> Dict[str, Any]:
        """Check packages that have arrived."""
        return {"damaged": packages.seal(head["base"], head["packages"])}

    def build(self, head: Head) -> Dict[str, Any]:
        """Make sure that an environment is there."""
        try:
            return built.build(head["base"], head["order"])
        except built.NotBuilt as error:
            raise Refused("build", str(error), **error.facts)  # noqa: B904

    def build_job(self, head: Head) -> Dict[str, Any]:
        """Make sure that a job builds an environment."""
        return build_jobs.begin(self._commands, head)

    def build_status(self, head: Head) -> Dict[str, Any]:
        """Say how far that job is."""
        return build_jobs.status(self._commands, head)

    def environments(self, head: Head) -> Dict[str, Any]:
        """Say which environments there are."""
        return {"environments": housekeeping.listing(head["base"])}

    def clean_environments(self, head: Head) -> Dict[str, Any]:
        """Remove environments that nobody uses."""
        return housekeeping.clean(head["base"], head["older"], head["most"], head["dry"])


def lacking_environments(head: Head) -> List[str]:
    """Return the environments that a submission does not find; there may be none to find."""
    return [
        wanted["path"]
        for wanted in head.get("environments", [])
        if wanted["force"] or not built.is_ready(wanted["path"], wanted["key"], head["base"])
    ]
