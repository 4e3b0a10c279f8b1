"""The real thing."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testcluster import Cluster, ClusterError, ClusterOptions, cgroups, down, load, processes, up
from testcluster.layout import REPOSITORY, Layout

pytestmark = pytest.mark.cluster


def wait_until(condition, timeout=15):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)


def submit(cluster: Cluster, *arguments: str) -> str:
    done = cluster.run(["sbatch", "--parsable", *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(cluster: Cluster, job: str) -> str:
    return cluster.run(["sacct", "-j", job, "-X", "-n", "-P", "-o", "State"]).stdout.strip()


def assert_nothing_left(layout: Layout, uid: int) -> None:
    assert not layout.root.exists()
    assert not Path("/etc/pam.d", layout.user).exists()
    with pytest.raises(KeyError):
        pwd.getpwnam(layout.user)
    # what was about to end when it was looked for may still be at it
    wait_until(lambda: not processes.of_user(uid))
    wait_until(lambda: not processes.writing_below(layout.root))
    assert not list(cgroups.ROOT.glob(f"*/slurm_*/uid_{uid}"))
    assert str(layout.root) not in Path("/proc/self/mountinfo").read_text()


def test_up_again_changes_nothing(cluster):
    before = {path: path.read_text() for path in cluster.layout.run.glob("*.pid")}
    assert up(cluster.options) == cluster
    assert {path: path.read_text() for path in cluster.layout.run.glob("*.pid")} == before


def test_up_with_other_options_is_refused(cluster):
    with pytest.raises(ClusterError, match="other options"):
        up(ClusterOptions(name=cluster.name, max_sessions=3))


def test_a_job_over_ssh_runs_unprivileged_and_is_recorded(cluster):
    done = cluster.ssh("sbatch --parsable -N2 -o here.out --wrap 'id -un; srun -N2 printenv SLURMD_NODENAME'")
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    wait_until(lambda: state(cluster, job) == "COMPLETED")
    user, *nodes = (cluster.home / "here.out").read_text().split()
    assert user == cluster.user
    assert sorted(nodes) == ["node1", "node2"]


def test_clients_check_the_host_key_strictly(cluster):
    config = cluster.ssh_config.read_text()
    assert "StrictHostKeyChecking yes" in config
    wrong = subprocess.run(
        ["ssh", "-F", cluster.ssh_config, "-o", "UserKnownHostsFile=/dev/null", cluster.ssh_alias, "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 255
    assert "Host key verification failed" in wrong.stderr


def test_memory_is_limited(cluster):
    if not cluster.confines_memory:
        pytest.skip("no control groups of version 1 here")
    job = submit(cluster, "--mem=100", "-o", "/dev/null", "--wrap", "python3 -c 'x = bytearray(400 * 1024**2)'")
    wait_until(lambda: state(cluster, job) == "OUT_OF_MEMORY")


def test_gpus_are_bound(cluster):
    job = submit(cluster, "-p", "gpu", "--gres=gpu:2", "-o", "gpu.out", "--wrap", "echo $CUDA_VISIBLE_DEVICES")
    wait_until(lambda: state(cluster, job) == "COMPLETED")
    assert len((cluster.home / "gpu.out").read_text().strip().split(",")) == 2


def test_a_second_cluster_beside_the_first_leaves_nothing(cluster, make_cluster):
    second = make_cluster(accounting=False, auth="one-time")
    uid = pwd.getpwnam(second.user).pw_uid
    left_behind = Path("/dev/shm", second.name)
    submit(second, "-N4", "-o", str(left_behind), "--wrap", "srun -N4 sleep 60")
    mine = submit(cluster, "-o", "beside.out", "--wrap", "squeue -h -o %u")
    wait_until(left_behind.exists)
    wait_until(lambda: " R " in second.run(["squeue", "-h"]).stdout)
    wait_until(lambda: state(cluster, mine) == "COMPLETED")
    assert second.user not in (cluster.home / "beside.out").read_text()

    down(second.name)
    assert_nothing_left(second.layout, uid)
    assert not left_behind.exists()
    # the first one still finds its control groups
    assert cluster.run(["srun", "-N4", "--mem=50", "true"]).returncode == 0


def test_up_repairs_what_died(make_cluster):
    cluster = make_cluster(accounting=False)
    cluster.stop("sshd")
    dead = processes.recorded_pid(cluster.layout.pid_file("slurmctld"))
    assert dead is not None
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not cluster.running()["slurmctld"])
    again = up(cluster.options)
    assert all(again.running().values())
    assert again.ssh_port == cluster.ssh_port
    assert again.ssh("squeue").returncode == 0


def test_a_requeued_job_starts_soon(make_cluster):
    cluster = make_cluster(accounting=False, requeue_delay=5)
    job = submit(cluster, "--requeue", "-o", "/dev/null", "--wrap", "echo $SLURM_RESTART_COUNT >> starts; sleep 60")
    starts = cluster.home / "starts"
    wait_until(starts.exists)
    node = cluster.run(["squeue", "-h", "-j", job, "-o", "%N"]).stdout.strip()
    cluster.fail(node)
    wait_until(lambda: "1" in starts.read_text(), timeout=30)


def test_a_preempted_job_is_requeued(make_cluster):
    cluster = make_cluster(accounting=False, preemption="requeue", requeue_delay=5)
    victim = submit(cluster, "-N4", "--exclusive", "--requeue", "-o", "/dev/null", "--wrap", "sleep 60")
    wait_until(lambda: "RUNNING" in cluster.run(["squeue", "-h", "-j", victim, "-o", "%T"]).stdout)
    submit(cluster, "-p", "urgent", "-N4", "--exclusive", "-o", "ran", "--wrap", "true")
    wait_until((cluster.home / "ran").exists)
    wait_until(lambda: "PENDING" in cluster.run(["squeue", "-h", "-j", victim, "-o", "%T"]).stdout)


def test_a_one_time_code_is_good_once(make_cluster):
    cluster = make_cluster(accounting=False, auth="one-time")
    assert cluster.ssh("true").returncode == 0
    code = cluster.one_time_code()
    assert (cluster.layout.codes / code).exists()
    assert cluster.ssh("true").returncode == 0  # a code of its own
    (cluster.layout.codes / code).unlink()
    assert list(cluster.layout.codes.iterdir()) == []


def test_the_login_node_sees_files_late(make_cluster):
    cluster = make_cluster(accounting=False, late_files=6)
    assert cluster.ssh("cat late/file").returncode == 1  # this absence is remembered
    started = time.monotonic()
    assert cluster.run(["srun", "--mem=50", "sh", "-c", "echo done > late/file"]).returncode == 0
    assert cluster.ssh("cat late/file").returncode == 1
    wait_until(lambda: cluster.ssh("cat late/file").stdout == "done\n")
    assert time.monotonic() - started > 2


@pytest.mark.parametrize("shell", ["tcsh", "fish"])
def test_an_odd_login(make_cluster, shell):
    cluster = make_cluster(accounting=False, login_shell=shell, banner=True, login_python=False, auth="password")
    done = cluster.ssh("squeue --version; python3 -V")
    assert done.returncode != 0
    assert done.stdout.startswith("Welcome to the login node")
    assert "slurm" in done.stdout
    assert done.stderr.startswith("*** Test cluster")


def test_submit_limit_and_short_memory(make_cluster):
    cluster = make_cluster(max_submit_jobs=1, min_job_age=2)
    first = submit(cluster, "--wrap", "sleep 60")
    refused = cluster.run(["sbatch", "--wrap", "true"])
    assert "QOSMaxSubmitJobPerUserLimit" in refused.stderr
    cluster.run(["scancel", first])
    wait_until(lambda: "Invalid job id" in cluster.run(["squeue", "-j", first]).stderr, timeout=60)


@pytest.mark.parametrize("seconds", [0.2, 0.8, 1.6, 2.4, 4])
def test_down_cleans_up_after_a_killed_up(seconds):
    name = f"k{os.getpid()}"
    command = [sys.executable, "-m", "testcluster", "up", "--name", name]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as victim:
        time.sleep(seconds)
        victim.kill()
    layout = Layout.of(name)
    try:
        uid = pwd.getpwnam(layout.user).pw_uid
    except KeyError:
        uid = 2**31  # nobody's
    down(name)
    assert_nothing_left(layout, uid)
    with pytest.raises(ClusterError, match="no cluster"):
        load(name)


def test_ports_are_closed_to_the_network(cluster):
    # slurmdbd listens everywhere whatever one tells it, and wants munge's signature
    ports = {port for daemon, port in cluster.machine.ports.items() if daemon != "slurmdbd"}
    listening = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, port = line.split()[1].split(":")
        if int(port, 16) in ports:
            listening.setdefault(address, set()).add(int(port, 16))
    assert listening == {"0100007F": ports}


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first time it makes a Debian 13
def test_a_newer_slurm_beside_this_one(cluster, make_cluster):
    newer = make_cluster(release="trixie", late_files=3, auth="one-time", banner=True)
    assert "slurm-wlm 24.11" in newer.ssh("sinfo --version").stdout
    assert cluster.ssh("sinfo --version").stdout != newer.ssh("sinfo --version").stdout

    job = submit(
        newer, "-N2", "-p", "gpu", "--gres=gpu:2", "-o", "gpu.out", "--wrap", "srun printenv CUDA_VISIBLE_DEVICES"
    )
    wait_until(lambda: state(newer, job) == "COMPLETED")
    assert (newer.home / "gpu.out").read_text() == "0,1\n0,1\n"
    assert newer.ssh("cat late/file").returncode == 1
    newer.run(["srun", "--mem=50", "touch", "late/file"])
    wait_until(lambda: newer.ssh("cat late/file").returncode == 0)

    uid = pwd.getpwnam(newer.user).pw_uid
    down(newer.name)
    assert_nothing_left(newer.layout, uid)
    assert not newer.machine.pam_service.exists()
