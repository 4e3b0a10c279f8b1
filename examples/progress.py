"""Shows Dagster runs on a terminal while they go on: when an asset starts and ends, and the payload's own lines."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
from rich.console import Console
from rich.markup import escape

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # what it would print is shown here
_NAME_WIDTH = 34
warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # Dagster's own use of its Pipes


@contextmanager
def _diverted(on_line: Callable[[str], None]) -> Iterator[None]:
    """Hand over, line by line, what this process and its children print."""
    kept = os.dup(1), os.dup(2)
    reader, writer = os.pipe()

    def pump() -> None:
        with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                on_line(line.rstrip("\n"))

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(writer, stream)
    os.close(writer)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, original in zip((1, 2), kept, strict=True):
            os.dup2(original, stream)
            os.close(original)
        thread.join(timeout=5)


class Progress:
    """Prints what happens, and counts it.

    Args:
        hear: is handed every event as well.

    Attributes:
        materialized: how often each asset, by name.
        checks: whether each asset check passed, by name.
        failures: how each failed step ended.
    """

    def __init__(self, hear: Callable[[dg.EventLogEntry], None] = lambda _: None) -> None:
        self._hear = hear
        # colours and a spinner on a terminal, plain lines elsewhere
        self.console = Console(file=os.fdopen(os.dup(1), "w"), highlight=False, soft_wrap=True)
        self.materialized: dict[str, int] = {}
        self.checks: dict[str, bool] = {}
        self.failures: dict[str, str] = {}
        self._status = self.console.status("starting")
        self._begun: dict[str, float] = {}
        self._instance = dg.DagsterInstance.get()

    def run(self, defs: dg.Definitions, job: str, *, partition: str | None = None, config: dict | None = None) -> bool:
        """Run a job in this process; return whether it succeeded."""
        run_id = str(uuid.uuid4())
        self._instance.add_event_listener(run_id, lambda entry: self._event(entry, partition))
        with self._status, _diverted(self._payload_line):
            result = defs.resolve_job_def(job).execute_in_process(
                instance=self._instance,
                run_id=run_id,
                partition_key=partition,
                run_config={**_QUIET, **(config or {})},
                raise_on_error=False,
            )
        return result.success

    def _payload_line(self, line: str) -> None:
        self.console.print(f"    [dim]|[/] {escape(line)}")

    def _line(self, mark: str, name: str, text: str) -> None:
        self.console.print(f"{mark} [bold]{escape(name):<{_NAME_WIDTH}}[/] {text}")

    def _event(self, entry: dg.EventLogEntry, partition: str | None) -> None:
        self._hear(entry)
        event = entry.dagster_event
        if event is None:  # a line of the log: the asset's, the payload's, or the cluster's news
            if entry.level >= logging.INFO and not entry.user_message.startswith("[pipes]"):
                self._line(" ", "", f"[cyan]{escape(entry.user_message)}[/]")
            return
        name = f"{event.step_key}[{partition}]" if partition else str(event.step_key)
        if event.event_type is dg.DagsterEventType.STEP_START:
            self._begun[name] = time.monotonic()
            self._line("[yellow]>[/]", name, "started")
            self._status.update(f"{escape(name)} is running")
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._materialized(name, event.materialization)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event.asset_check_evaluation_data)
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            failure = event.step_failure_data.error_display_string.partition("Stack Trace:")[0].strip()
            self.failures[name] = failure
            self._line("[red]x[/]", name, f"[red]failed[/]\n{escape(failure)}")
        elif event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            self._line("[green]o[/]", name, f"done in {time.monotonic() - self._begun[name]:.1f} s")

    def _materialized(self, name: str, materialization: dg.AssetMaterialization) -> None:
        asset = materialization.asset_key.to_user_string()
        self.materialized[asset] = self.materialized.get(asset, 0) + 1
        self._line("[green]=[/]", name, _numbers(materialization.metadata))

    def _checked(self, check: dg.AssetCheckEvaluation) -> None:
        self.checks[check.check_name] = check.passed
        verdict = "[green]passed[/]" if check.passed else f"[yellow]{check.severity.value}[/]"
        self._line("[green]?[/]", check.check_name, f"{verdict}  {_numbers(check.metadata)}")


def _numbers(metadata: dict[str, dg.MetadataValue]) -> str:
    """Return what the payload said and fits on a line: numbers and short texts."""
    shown = []
    for key, value in metadata.items():
        if key.startswith("slurm/"):  # for the UI
            continue
        if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue):
            shown.append(f"{key} {value.value:,}")
        elif isinstance(value, dg.TextMetadataValue):
            shown.append(f"{key} {value.value}")
    return escape(", ".join(shown))
