#!/bin/bash
# tools/test.sh [PYTEST ARGUMENTS]: the tests against a real Slurm cluster, which is brought up before and taken down after.
#
# CLUSTER names the cluster (default: test); KEEP=1 leaves it up, for the next time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=$PWD/.venv/bin/python
cluster=${CLUSTER:-test}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

has_slurm() {
    PATH=$PATH:/usr/sbin:/sbin command -v slurmctld >/dev/null && PATH=$PATH:/usr/sbin:/sbin command -v slurmd >/dev/null
}

if ! can_be_root && ! has_slurm; then
    cat >&2 <<-MESSAGE

	make test needs a real Slurm on this machine, and may not install it.
	  why:  the packages slurmctld, slurmd, slurmdbd, slurm-client, munge, mariadb-server and openssh-server come
	        with apt-get, which takes root; $(id -un) is neither root nor allowed sudo without a password.
	  type: sudo make test          as a user who may
	        make test-quick         for the tests that need no cluster
	MESSAGE
    exit 1
fi

# Taken down whatever happens: a failed test, an interrupt, a cluster that came up half.
down() {
    [ -n "${KEEP:-}" ] && return
    "$python" -m testcluster down --name "$cluster" </dev/null || echo "test: the cluster $cluster did not go down cleanly" >&2
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
"$python" -m pytest "$@" </dev/null
