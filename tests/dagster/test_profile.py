"""Site profiles: read, refused, and completed by the environment."""

from pathlib import Path

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmResource
from dagster_slurm.errors import ConfigurationError

PROFILE = """
slurm:
  ssh: {host: cluster, port: 2222, user: me}
  queue: {partition: compute, time_limit: 10:00:00, account: research, cpus: 2, options: {mail-type: END}}
  remote_base: $SCRATCH/runs
  keep_runs_days: 1.5
site: {slurm: 22.05.8}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(PROFILE)
    return path


def test_a_profile_is_read(profile: Path) -> None:
    slurm = SlurmResource.from_profile(profile)
    assert slurm.ssh is not None
    assert (slurm.ssh.host, slurm.ssh.port, slurm.ssh.user) == ("cluster", 2222, "me")
    assert (slurm.remote_base, slurm.keep_runs_days) == ("$SCRATCH/runs", 1.5)
    asked = slurm.defaults().resources()
    assert (asked.partition, asked.account, asked.cpus) == ("compute", "research", 2)
    assert asked.time_limit == "10:00:00"  # no number of seconds, which YAML 1.1 would make of it
    assert asked.options == {"mail-type": "END"}


def test_the_environment_names_it_and_completes_it(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_SLURM_PROFILE", str(profile))
    monkeypatch.setenv("SLURM_PARTITION", "gpu")
    compute = ComputeResource.from_env()
    assert compute.mode == "slurm"
    assert compute.slurm is not None
    assert compute.slurm.ssh.host == "cluster"
    assert compute.slurm.defaults().partition == "gpu"
    assert compute.slurm.defaults().account == "research"
    monkeypatch.setenv("SLURM_EDGE_NODE_HOST", "other")
    monkeypatch.setenv("SLURM_DEPLOYMENT_BASE_PATH", "/elsewhere")
    slurm = SlurmResource.from_env()
    assert (slurm.ssh.host, slurm.ssh.port, slurm.remote_base) == ("other", None, "/elsewhere")
    monkeypatch.setenv("DAGSTER_SLURM_MODE", "local")
    assert ComputeResource.from_env().slurm is None


def test_a_password_is_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("slurm: {ssh: {host: cluster, password: {env: CLUSTER_PASSWORD}}}")
    monkeypatch.setenv("CLUSTER_PASSWORD", "secret-word")
    slurm = SlurmResource.from_profile(path)
    assert slurm.ssh is not None
    assert isinstance(slurm.ssh.password, dg.EnvVar)
    assert slurm.ssh.settings().password == "secret-word"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slurm: {ssh: {host: cluster, password: secret-word}}", "holds a password"),
        ("slurm: {ssh: {hots: cluster}}", "'hots' is not known"),
        ("slurm: {remote_bse: x}", "'remote_bse' is not known"),
        ("slrum: {}", "'slrum' is not known"),
        ("slurm: {ssh: cluster}", "`ssh` is not a mapping"),
        ("slurm: {ssh: {host: cluster, port: many}}", "port='many'"),
        ("- a list", "is not a mapping"),
        ("{", "is no YAML"),
        ("", "is not a mapping"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says) as caught:
        SlurmResource.from_profile(path)
    assert "secret-word" not in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        SlurmResource.from_profile(tmp_path / "none.yaml")
    assert "doctor" in (caught.value.hint or "")
