"""What a call of ``run`` starts: planned once, or for each allocation of a session that it is handed to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.plan import Taken, plan
from dagster_slurm.engine.sessions import Generation
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.unit_run import Work
from dagster_slurm.engine.units import beside, flags
from dagster_slurm.pipes.attendance import run_and_step
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.series import Series
from dagster_slurm.pipes.warmth import warm_cluster


@dataclass(frozen=True, kw_only=True)
class Planning:
    """All that a launch is planned from.

    Args:
        target: where it goes.
        call: what the user asked for.
        series: the jobs of the call, of which this is the present one.
        variables: by which the payload finds its Pipes context and messages.
        context: the Pipes context.
        sink: hears what is done before the submission.
    """

    target: Target
    call: Call
    series: Series
    variables: Mapping[str, str]
    context: bytes
    sink: Sink

    def launch(self) -> Launch:
        """Return what to submit; in a session, what it is as long as no allocation has it."""
        warm = None if self.target.session else self._warm(None)
        return self._planned(warm) if warm else self._without_one

    def work(self, generation: Generation | None) -> Work:
        """Return what an allocation of the session is handed, with a warm cluster of its own; see :class:`UnitRun`."""
        warm = generation and self._warm(generation)
        launch = self._planned(warm) if warm else self._without_one
        asked = flags(launch.spec.key, launch.spec.resources, *run_and_step(self.call.context))
        return Work(launch, beside(asked, warm.directory) if warm else asked)

    @cached_property
    def _without_one(self) -> Launch:
        """With a cluster of its own, if the launcher starts one: the same wherever it is handed to."""
        return self._planned(None)

    def _warm(self, generation: Generation | None) -> Taken | None:
        # of what retries change, a cluster is what the resources make it
        ask = replace(self.call.ask, resources=self.series.ask.resources)
        call, series = replace(self.call, ask=ask), self.series
        return warm_cluster(self.target, call, series.place, series.key, self.sink, generation=generation)

    def _planned(self, warm: Taken | None) -> Launch:
        ask, key, place = self.series.ask, self.series.key, self.series.place
        launch = plan(ask, key, place, bootstrap=self.variables, context=self.context, warm=warm)
        return self.series.prepared(launch)
