# shellcheck shell=bash
# Sourced by cluster.sh and node.sh: this machine's part of the job, and its processes.

lives() { kill -0 "$1" 2>/dev/null; }

# this node's CPUs, where the request does not tell: what Slurm gave
cpus_here() { printf '%s' "${CPUS:-${SLURM_CPUS_ON_NODE:-$(getconf _NPROCESSORS_ONLN)}}"; }

# this node's memory in MiB, where the request does not tell: the part that goes with the CPUs
memory_here() {
    awk -v ours="$(cpus_here)" -v all="$(getconf _NPROCESSORS_ONLN)" \
        '/^MemTotal:/ { part = ours / all; if (part > 1) part = 1; printf "%d", $2 / 1024 * part }' /proc/meminfo
}
