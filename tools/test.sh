#!/bin/bash
# tools/test.sh [PYTEST ARGUMENTS]: the tests against a real Slurm cluster, which is brought up before and taken down after.
#
# CLUSTER names the cluster (default: test); KEEP=1 leaves it up, for the next time. Most tests wait for Slurm most of the
# time, so two processes run them, a file each; the second has a cluster of its own. JOBS=1 runs them one after another.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=$PWD/.venv/bin/python
cluster=${CLUSTER:-test}
export DAGSTER_SLURM_TEST_CLUSTER=$cluster
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # sshd, useradd and the like, which users' PATHs may leave out

if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    cat >&2 <<-MESSAGE

	make test needs a real Slurm on this machine, and $(id -un) may not bring it up.
	  why:  four slurmd with cgroups, an sshd and their packages (slurmctld, slurmd, slurmdbd, slurm-client, munge,
	        mariadb-server-core, openssh-server) take root, or a sudo that asks for no password.
	  type: sudo make test          if you may
	        make test-quick         for the tests that need no cluster
	MESSAGE
    exit 1
fi

# Taken down whatever happens: a failed test, an interrupt, a cluster that came up half.
down() {
    [ -n "${KEEP:-}" ] && return
    local name
    for name in "$cluster" $(seq -f "$cluster-gw%g" 1 $((${JOBS:-2} - 1))); do
        "$python" -m testcluster down --name "$name" </dev/null >/dev/null ||
            echo "test: the cluster $name did not go down cleanly" >&2
    done
}
finish() {
    local status=$?
    trap - EXIT
    down
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$python" -m testcluster up --name "$cluster" </dev/null || exit 1
# Tests that kill, cut and time out can fail for want of time on a machine that is busy with something else. What failed
# (exit code 1: not an interrupt, not a broken collection) is told, and must pass by itself.
tests() {
    "$python" -m pytest -n "${JOBS:-2}" --dist loadfile "$@" </dev/null || {
        local status=$?
        [ "$status" -eq 1 ] || return "$status"
        echo "test: what failed above is run once more, by itself"
        "$python" -m pytest -n 0 "$@" --last-failed --last-failed-no-failures none </dev/null
    }
}
tests "$@"
