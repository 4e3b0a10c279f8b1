"""What a person sees while a run goes on: in the step's log, and on its standard output and error."""

from __future__ import annotations

from collections.abc import Callable

from dagster_slurm.core.causes import kind_of
from dagster_slurm.core.observations import Began, Ended, Event, OddWord, Unanswered, Waiting
from dagster_slurm.errors import HostError, SubmissionDelayed
from dagster_slurm.pipes.echo import Echo
from dagster_slurm.pipes.handles import Context
from dagster_slurm.pipes.reader import RunMessageReader


class Telling:
    """Takes what a run says, and hands it on to Dagster.

    Args:
        context: whose log is written to.
        reader: takes the Pipes messages.
        local: there is no queue to speak of.
        component: the name of a component. What concerns the job as a whole is said by the job.
        spokesman: ... of which there is none: this component says it.
    """

    def __init__(
        self,
        context: Context,
        reader: RunMessageReader | None,
        *,
        local: bool,
        component: str = "",
        spokesman: bool = False,
    ) -> None:
        self._log = context.log
        self._reader = reader
        self._local = local
        self._delayed = ""
        #: called at each repetition of the submission; may raise
        self.on_delay: Callable[[], None] = lambda: None
        self._component = component
        self._quiet = bool(component) and not spokesman
        self.echo = Echo(context.log.warning, f"[{component}] " if component else "")

    def output(self, stream: str, data: bytes) -> None:
        """Echo the payload's output."""
        self.echo.write(stream, data)

    def last_lines(self) -> str:
        """Return the end of what the payload printed: of its errors, if it wrote any."""
        return self.echo.tail("stderr") or self.echo.tail("stdout")

    def messages(self, restart: int, data: bytes) -> None:
        """Hand on Pipes messages."""
        if self._reader is not None:
            self._reader.feed(restart, data)

    def event(self, event: Event) -> None:
        """Say what happened to the job, in one line."""
        if isinstance(event, Began):
            start = event.start
            again = f" again (restart {start.restart})" if start.restart else ""
            if again:
                self.echo.restart()
            if not self._local or again:
                name = f"{kind_of(start.job).capitalize()} {start.job}"
                if self._component:
                    name = f"Component {self._component} (job {start.job})"
                self._log.info(f"{name} began{again} on {start.nodes or start.node}.")
        elif self._quiet and not isinstance(event, Ended):
            return  # the job says so
        elif isinstance(event, Waiting):
            expected = f", expected to start at {event.expected_start}" if event.expected_start else ""
            self._log.info(f"The job waits in the queue: {event.reason or 'no reason given'}{expected}.")
        elif isinstance(event, OddWord):
            self._log.warning(f"Slurm says {event.word!r} of the job, which we do not know; waiting on.")
        elif isinstance(event, Unanswered):
            self._unanswered(event)
        else:
            self._ended(event)

    def _unanswered(self, event: Unanswered) -> None:
        if "accounting storage is disabled" in event.error:
            return  # a cluster that keeps no accounts: the record and the queue do
        # whoever waits for the queue should know; accounting only tells more of what has ended
        tell = self._log.warning if event.source == "queue" else self._log.info
        tell(f"Slurm's {event.source} does not answer: {event.error}. The job is not touched by that.")

    def absent(self, error: HostError | None) -> None:
        """Say once that the way to the host is barred, and when it is free again."""
        if self._quiet:
            return
        if error is None:
            self._log.info("The host answers again.")
        else:
            self._log.warning(f"{error}\nJobs run on; this step waits, and continues when the host answers.")

    def delayed(self, error: SubmissionDelayed) -> None:
        """Say once per reason that the submission waits."""
        if error.message != self._delayed:
            self._delayed = error.message
            self._log.warning(str(error))
        self.on_delay()

    def tell(self, text: str) -> None:
        """Say what is done before the submission."""
        self._log.info(text)

    def _ended(self, event: Ended) -> None:
        if event.exit.signals:
            of = f" of component {self._component}" if self._component else ""
            self._log.warning(
                f"The payload{of} got SIG{', SIG'.join(event.exit.signals)} and ended; asking for the reason."
            )
