"""What the UI does: its own requests, to a code location and an instance of the test."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster_graphql.schema import create_schema

WORLD = Path(__file__).parent / "world.py"
#: without the daemon that a queue of runs would need
CONFIGURATION = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
OVER = {"SUCCESS", "FAILURE", "CANCELED"}
LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message stack }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
AGAIN = """
mutation($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message stack } } }
"""
TERMINATE = """
mutation($run: String!) { terminateRun(runId: $run) {
  __typename ... on TerminateRunFailure { message } ... on PythonError { message stack } } }
"""


class Ui:
    """A person in front of the UI."""

    def __init__(
        self, instance: dg.DagsterInstance, process: WorkspaceProcessContext, environment: Mapping[str, str]
    ) -> None:
        self.instance = instance
        self.environment = dict(environment)
        self._process = process
        self._schema = create_schema()

    def launch(self, job: str, assets: str | list[str], config: Mapping[str, Any], partition: str | None = None) -> str:
        """Press the button; return the run's id."""
        names = [assets] if isinstance(assets, str) else assets
        params = {
            "selector": {"repositoryLocationName": "world", "repositoryName": "__repository__", "pipelineName": job},
            "runConfigData": {"ops": {name: {"config": dict(config)} for name in names}},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}] if partition else []},
            "mode": "default",
        }
        return self._ask(LAUNCH, params=params)["launchRun"]["run"]["runId"]

    def retry(self, run: str) -> str:
        """Re-execute from failure."""
        return self._again(run, "FROM_FAILURE")

    def again(self, run: str) -> str:
        """Re-execute all."""
        return self._again(run, "ALL_STEPS")

    def terminate(self, run: str) -> None:
        self._ask(TERMINATE, run=run)

    def status(self, run: str) -> str:
        found = self.instance.get_run_by_id(run)
        assert found is not None
        return found.status.value

    def wait(self, run: str, status: str, timeout: float = 60) -> float:
        """Wait for a status; return how many seconds it took."""
        begun = time.monotonic()
        while self.status(run) != status:
            assert time.monotonic() - begun < timeout, (self.status(run), self.log(run))
            assert self.status(run) not in OVER - {status}, (self.status(run), self.log(run))
            time.sleep(0.05)
        return time.monotonic() - begun

    def log(self, run: str) -> str:
        """All that the run's page shows, one line after the other."""
        lines: list[str] = []
        for entry in self.instance.all_logs(run):
            data = entry.dagster_event.event_specific_data if entry.dagster_event else None
            failure = getattr(data, "user_failure_data", None)
            lines.append(entry.user_message or entry.message)
            lines += [failure.description] if failure else []
        return "\n".join(lines)

    def process(self, run: str) -> psutil.Process:
        """The run worker."""
        text = self.log(run)
        number = text.rsplit("Started process for run (pid: ", 1)[1].split(")")[0]
        return psutil.Process(int(number))

    def metadata(self, run: str) -> dict[str, Any]:
        """Of the only materialization."""
        entries = self.instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        assert len(entries) == 1, self.log(run)
        materialization = entries[0].asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}

    def output(self, run: str) -> tuple[str, str]:
        """Standard output and error in the compute logs."""
        out, err = b"", b""
        for entry in self.instance.all_logs(run, of_type=dg.DagsterEventType.LOGS_CAPTURED):
            assert entry.dagster_event is not None
            key = [run, "compute_logs", entry.dagster_event.logs_captured_data.file_key]
            data = self.instance.compute_log_manager.get_log_data(key)
            out, err = out + (data.stdout or b""), err + (data.stderr or b"")
        return out.decode(), err.decode()

    def _again(self, run: str, strategy: str) -> str:
        params = {"parentRunId": run, "strategy": strategy}
        return self._ask(AGAIN, params=params)["launchRunReexecution"]["run"]["runId"]

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        context = self._process.create_request_context()
        result = asyncio.run(self._schema.execute_async(query, context_value=context, variable_values=variables))
        assert not result.errors, result.errors
        answer = next(iter(result.data.values()))
        assert answer["__typename"] in ("LaunchRunSuccess", "TerminateRunSuccess"), answer
        return result.data


@contextlib.contextmanager
def opened(home: Path, environment: Mapping[str, str]) -> Iterator[Ui]:
    """The UI with the code location of ``world.py``."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(CONFIGURATION)
    target = PythonFileTarget(
        python_file=str(WORLD), attribute=None, working_directory=str(WORLD.parents[2]), location_name="world"
    )
    others = psutil.Process().children()
    servers: list[psutil.Process] = []
    with contextlib.ExitStack() as stack:
        stack.callback(_wait_for, servers)
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        before = dict(os.environ)
        complete = {**before, **environment, "DAGSTER_HOME": str(home)}
        os.environ.update(complete)
        try:  # the code location's process takes its environment from ours
            process = stack.enter_context(WorkspaceProcessContext(instance, target))
        finally:
            os.environ.clear()
            os.environ.update(before)
        servers += [child for child in psutil.Process().children() if child not in others]
        yield Ui(instance, process, complete)


def _wait_for(servers: list[psutil.Process]) -> None:
    """Dagster tells its servers to stop and waits for none of them."""
    for server in servers:
        with contextlib.suppress(psutil.Error):
            server.wait(20)
