"""Settings: from the environment, as EnvVar, in Definitions; and what is shown of them."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from dagster_slurm import (
    BashLauncher,
    ComputeResource,
    ExecutionMode,
    SlurmPipesClient,
    SlurmQueueConfig,
    SlurmResource,
    SSHConnectionResource,
)
from dagster_slurm.errors import ConfigurationError
from tests.dagster.support import Bench, asset_that_runs, values

PASSWORD = "pa55word-that-nobody-sees"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "DAGSTER_SLURM_MODE", "LOGIN_")):
            monkeypatch.delenv(name)


def setting(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_nothing_set_is_local() -> None:
    compute = ComputeResource.from_env()
    assert compute.execution_mode() is ExecutionMode.LOCAL
    assert compute.slurm is None


def test_a_host_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, SLURM_EDGE_NODE_HOST="login")
    compute = ComputeResource.from_env()
    assert compute.execution_mode() is ExecutionMode.SLURM
    assert compute.slurm is not None
    assert compute.slurm.ssh is not None
    settings = compute.slurm.ssh.settings()
    assert (settings.host, settings.port, settings.user, settings.key_path) == ("login", None, None, None)
    assert settings.host_key_checking


def test_blank_means_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "HOST PORT USER KEY KEY_PATH PASSWORD JUMP_HOST FORCE_TTY EXTRA_OPTS MAX_LOGINS".split()
    setting(monkeypatch, **{f"SLURM_EDGE_NODE_{name}": " " for name in names}, DAGSTER_SLURM_MODE="")
    assert ComputeResource.from_env().execution_mode() is ExecutionMode.LOCAL
    setting(monkeypatch, SLURM_EDGE_NODE_HOST="login")
    ssh = SSHConnectionResource.from_env()
    assert ssh == SSHConnectionResource(host="login")


def test_the_mode_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, SLURM_EDGE_NODE_HOST="login", DAGSTER_SLURM_MODE="local")
    assert ComputeResource.from_env().execution_mode() is ExecutionMode.LOCAL
    monkeypatch.delenv("SLURM_EDGE_NODE_HOST")
    setting(monkeypatch, DAGSTER_SLURM_MODE="slurm")
    compute = ComputeResource.from_env()
    assert compute.execution_mode() is ExecutionMode.SLURM
    assert compute.slurm is not None
    assert compute.slurm.ssh is None, "without a host Dagster runs on the login node"
    setting(monkeypatch, DAGSTER_SLURM_MODE="slrm")
    with pytest.raises(ConfigurationError, match="Did you mean 'slurm'"):
        ComputeResource.from_env()


@pytest.mark.parametrize("prefix", ["LOGIN_", "LOGIN"])
def test_everything_of_a_connection(monkeypatch: pytest.MonkeyPatch, prefix: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    setting(
        monkeypatch,
        LOGIN_HOST="login.example",
        LOGIN_PORT="2222",
        LOGIN_USER="ada",
        LOGIN_KEY_PATH=str(key),
        LOGIN_PASSWORD=PASSWORD,
        LOGIN_JUMP_HOST="gate",
        LOGIN_FORCE_TTY="yes",
        LOGIN_POST_LOGIN_COMMAND="ssh inner {cmd}",
        LOGIN_EXTRA_OPTS="-o 'SetEnv=A=b c' -C",
        LOGIN_HOST_KEY_CHECKING="no",
        LOGIN_KNOWN_HOSTS_FILE="/etc/known",
        LOGIN_CONFIG_FILE="/etc/config",
        LOGIN_BATCH_MODE="0",
        LOGIN_MAX_LOGINS="2",
        LOGIN_CONNECT_TIMEOUT="7",
    )
    ssh = SSHConnectionResource.from_env(prefix=prefix)
    settings = ssh.settings()
    given = {name: getattr(settings, name) for name in type(ssh).model_fields if name != "password"}
    assert given == {
        "host": "login.example",
        "port": 2222,
        "user": "ada",
        "key_path": str(key),
        "jump_host": "gate",
        "force_tty": True,
        "post_login_command": "ssh inner {cmd}",
        "extra_opts": ("-o", "SetEnv=A=b c", "-C"),
        "host_key_checking": False,
        "known_hosts_file": "/etc/known",
        "config_file": "/etc/config",
        "batch_mode": False,
        "max_logins": 2,
        "connect_timeout": 7,
    }
    assert settings.password == PASSWORD
    assert SlurmResource.from_env(prefix).ssh == ssh


def test_a_key_by_its_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, LOGIN_HOST="login", LOGIN_KEY="/key")
    assert SSHConnectionResource.from_env("LOGIN").key_path == "/key"
    setting(monkeypatch, LOGIN_KEY_PATH="/other")
    assert SSHConnectionResource.from_env("LOGIN").key_path == "/other"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "ssh", "LOGIN_PORT='ssh' is not a whole number"),
        ("PORT", "-1", "LOGIN_PORT='-1' is not a whole number"),
        ("FORCE_TTY", "perhaps", "LOGIN_FORCE_TTY='perhaps' is neither yes nor no"),
        ("EXTRA_OPTS", "-o 'x", "LOGIN_EXTRA_OPTS"),
    ],
)
def test_what_cannot_be_understood_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str) -> None:
    setting(monkeypatch, LOGIN_HOST="login", **{f"LOGIN_{name}": value})
    with pytest.raises(ConfigurationError) as caught:
        SSHConnectionResource.from_env("LOGIN")
    assert told in str(caught.value)


def test_a_connection_without_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="LOGIN_HOST is not set"):
        SSHConnectionResource.from_env("LOGIN")


def test_queue_and_base_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(
        monkeypatch,
        SLURM_DEPLOYMENT_BASE_PATH="$SCRATCH/runs",
        SLURM_PARTITION="gpu",
        SLURM_QOS="short",
        SLURM_ACCOUNT="science",
    )
    slurm = SlurmResource.from_env()
    asked = slurm.defaults().resources()
    assert (asked.partition, asked.qos, asked.account) == ("gpu", "short", "science")
    assert slurm.remote_base == "$SCRATCH/runs"
    monkeypatch.delenv("SLURM_DEPLOYMENT_BASE_PATH")
    assert SlurmResource.from_env().remote_base == "~/dagster-slurm"


# --- Dagster's own ways


def with_password(password: Any) -> ComputeResource:
    ssh = SSHConnectionResource(host="login", password=password)
    return ComputeResource(mode="slurm", slurm=SlurmResource(ssh=ssh), default_launcher=BashLauncher())


def from_env_with_password(monkeypatch: pytest.MonkeyPatch) -> ComputeResource:
    setting(monkeypatch, SLURM_EDGE_NODE_HOST="login", SLURM_EDGE_NODE_PASSWORD=PASSWORD)
    return ComputeResource.from_env()


@pytest.mark.parametrize("how", ["plain", "variable", "from_env"])
def test_nobody_sees_the_password(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    setting(monkeypatch, THE_PASSWORD=PASSWORD)
    compute = (
        from_env_with_password(monkeypatch)
        if how == "from_env"
        else with_password(PASSWORD if how == "plain" else dg.EnvVar("THE_PASSWORD"))
    )
    assert compute.slurm is not None
    ssh = compute.slurm.ssh
    assert ssh is not None
    assert ssh.settings().password == PASSWORD
    text = " ".join(map(repr, (compute, compute.slurm, ssh, ssh.settings()))) + f"{compute.slurm} {ssh}"
    assert PASSWORD not in text
    resources = {"compute": compute, "slurm": compute.slurm, "ssh": ssh}
    assert PASSWORD not in shown_by_the_ui(dg.Definitions(assets=[asset_that_runs(["true"])], resources=resources))


def shown_by_the_ui(definitions: dg.Definitions) -> str:
    """What a code location tells the web server, and what is stored with each run."""
    repository = definitions.get_repository_def()
    jobs = [job.get_job_snapshot() for job in repository.get_all_jobs()]
    return serialize_value(RepositorySnap.from_def(repository)) + "".join(map(serialize_value, jobs))


def test_dagster_fills_in_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode, host and password may all be EnvVar; a password is as it was after Dagster rebuilt the resource."""
    setting(monkeypatch, THE_MODE="local", THE_HOST="login", THE_PASSWORD=PASSWORD)
    ssh = SSHConnectionResource(host=dg.EnvVar("THE_HOST"), password=dg.EnvVar("THE_PASSWORD"))
    compute = ComputeResource(mode=dg.EnvVar("THE_MODE"), slurm=SlurmResource(ssh=ssh))
    seen: list[ComputeResource] = []

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        seen.append(compute)
        return compute.run(context=context, payload_path=["true"])

    ran = bench.materialize(one, resources={"compute": compute})
    assert ran.success
    assert seen[0].slurm is not None
    assert seen[0].slurm.ssh is not None
    assert seen[0].slurm.ssh.settings().host == "login"
    assert seen[0].slurm.ssh.settings().password == PASSWORD
    events = "".join(serialize_value(entry) for entry in bench.instance.all_logs(ran.result.run_id))
    assert PASSWORD not in events
    run = bench.instance.get_run_by_id(ran.result.run_id)
    assert run is not None
    assert PASSWORD not in serialize_value(run)


def test_variables_without_dagster(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called as a function, and in a client that is no resource, nobody but us looks variables up."""
    setting(monkeypatch, THE_MODE="local")

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"]).get_materialize_result()

    result = one(dg.build_asset_context(), compute=ComputeResource(mode=dg.EnvVar("THE_MODE")))
    assert values(result.metadata)["slurm/exit_code"] == 0


@pytest.mark.parametrize(
    "compute",
    [
        ComputeResource(),
        ComputeResource(mode="local", default_launcher=BashLauncher()),
        ComputeResource(mode=ExecutionMode.LOCAL),
        ComputeResource(mode="slurm", slurm=SlurmResource(queue=SlurmQueueConfig(partition="compute", qos="normal"))),
        with_password(dg.EnvVar("NOT_SET")),
    ],
    ids=["nothing", "local", "enum", "on the login node", "ssh"],
)
def test_it_loads_in_definitions(compute: ComputeResource) -> None:
    """As ``dagster definitions validate`` does; nothing is reached for, and no variable need be set."""
    defs = dg.Definitions(assets=[asset_that_runs(["true"])], resources={"compute": compute})
    dg.Definitions.validate_loadable(defs)
    assert "compute" in shown_by_the_ui(defs)


def test_a_mode_that_is_none(bench: Bench) -> None:
    for mode, told in {
        "lokal": "Did you mean 'local'",
        "slurm-session": "needs a cluster",
        "slurm": "needs a cluster",
    }.items():
        ran = bench.materialize(asset_that_runs(["true"]), resources={"compute": ComputeResource(mode=mode)})
        assert told in ran.failure.text
    assert "slurm=SlurmResource(ssh=SSHConnectionResource(host=...))" in ran.failure.text


def test_local_mode_never_connects(bench: Bench) -> None:
    slurm = SlurmResource(ssh=SSHConnectionResource(host="nowhere.invalid"))
    compute = ComputeResource(mode="local", slurm=slurm)
    assert bench.materialize(asset_that_runs(["true"]), resources={"compute": compute}).success


@pytest.mark.cluster
def test_a_client_looks_variables_up(cluster_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = cluster_bench.compute.slurm
    assert slurm is not None
    assert slurm.ssh is not None
    setting(monkeypatch, THE_HOST=slurm.ssh.host, THE_KEY=str(slurm.ssh.key_path), THE_PARTITION="compute")
    ssh = SSHConnectionResource(
        host=dg.EnvVar("THE_HOST"),
        port=slurm.ssh.port,
        user=slurm.ssh.user,
        key_path=dg.EnvVar("THE_KEY"),
        known_hosts_file=slurm.ssh.known_hosts_file,
    )
    client = SlurmPipesClient(SlurmResource(ssh=ssh, queue=SlurmQueueConfig(mem="100M")))

    @dg.asset
    def one(context: dg.AssetExecutionContext, pipes: dg.ResourceParam[SlurmPipesClient]):
        return pipes.run(context=context, payload_path=["true"])

    assert cluster_bench.materialize(one, resources={"pipes": client}).success
