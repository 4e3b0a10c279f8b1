"""What a call of ``run`` starts: planned once, or for each allocation of a session that it is handed to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.plan import Taken, plan
from dagster_slurm.engine.sessions import Generation
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.unit_run import Work
from dagster_slurm.engine.units import beside, flags
from dagster_slurm.pipes.attendance import run_and_step
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.warmth import warm_cluster


@dataclass(frozen=True, kw_only=True)
class Planning:
    """All that a launch is planned from.

    Args:
        target: where it goes.
        call: what the user asked for.
        place: where its files go.
        key: who it is.
        variables: by which the payload finds its Pipes context and messages.
        context: the Pipes context.
        sink: hears what is done before the submission.
    """

    target: Target
    call: Call
    place: Place
    key: LaunchKey
    variables: Mapping[str, str]
    context: bytes
    sink: Sink

    def launch(self) -> Launch:
        """Return what to submit; in a session, what it is as long as no allocation has it."""
        warm = None if self.target.session else warm_cluster(self.target, self.call, self.place, self.key, self.sink)
        return self._planned(warm)

    def work(self, generation: Generation | None) -> Work:
        """Return what an allocation of the session is handed, with a warm cluster of its own; see :class:`UnitRun`."""
        warm = generation and warm_cluster(
            self.target, self.call, self.place, self.key, self.sink, generation=generation
        )
        launch = self._planned(warm)
        asked = flags(launch.spec.key, launch.spec.resources, *run_and_step(self.call.context))
        return Work(launch, beside(asked, warm.directory) if warm else asked)

    def _planned(self, warm: Taken | None) -> Launch:
        return plan(self.call.ask, self.key, self.place, bootstrap=self.variables, context=self.context, warm=warm)
