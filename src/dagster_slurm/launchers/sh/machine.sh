# shellcheck shell=bash
# Sourced by cluster.sh, node.sh and ranks.sh, after launcher.sh: this machine's part of the job, its processes and Pythons.

# Words before every command of the payload's environment: a container. What follows `in_environment` runs as the payload does.
PREFIX=()
if [ -n "${DAGSTER_SLURM_COMMAND_PREFIX:-}" ]; then eval "PREFIX=($DAGSTER_SLURM_COMMAND_PREFIX)"; fi
in_environment() { "${PREFIX[@]}" "$@"; }

# our own small programs run outside of it, with any Python; an environment that has none uses the node's
TOOL=$PYTHON
command -v "$TOOL" >/dev/null 2>&1 || TOOL=python3
[ ${#PREFIX[@]} -gt 0 ] || PYTHON=$TOOL

# how people call the Python of the environment
python_here() { if [ ${#PREFIX[@]} -gt 0 ]; then printf '%s' "${PREFIX[*]} $PYTHON"; else command -v "$PYTHON" || printf '%s' "$PYTHON"; fi; }

lives() { kill -0 "$1" 2>/dev/null; }

# this node's CPUs, where the request does not tell: what Slurm gave, in a session to the unit
cpus_here() { printf '%s' "${CPUS:-${DAGSTER_SLURM_UNIT_CPUS:-${SLURM_CPUS_ON_NODE:-$(getconf _NPROCESSORS_ONLN)}}}"; }

# this node's memory in MiB, where the request does not tell: the part that goes with the CPUs
memory_here() {
    if [ -n "${DAGSTER_SLURM_UNIT_MIB:-}" ]; then
        printf '%s' "$DAGSTER_SLURM_UNIT_MIB"
        return
    fi
    awk -v ours="$(cpus_here)" -v all="$(getconf _NPROCESSORS_ONLN)" \
        '/^MemTotal:/ { part = ours / all; if (part > 1) part = 1; printf "%d", $2 / 1024 * part }' /proc/meminfo
}

# the job's nodes by name, with commas between; those of the step, once it runs, are in $STATE/step
names_of_nodes() { if [ -n "$LOCAL" ]; then printf '%s' "$HOSTNAME"; else scontrol show hostnames "${SLURM_JOB_NODELIST:-}" 2>/dev/null | tr '\n' ','; fi; }

# Reads what the keeper of a cluster published; waits for one that is being started.
take_connection() {
    local kept=${CONNECTION%/*/connection} until=$((SECONDS + ${TIMEOUT%.*} + 1)) why
    while :; do
        READY=
        # a file that is being written is not whole yet
        # shellcheck disable=SC1090
        if [ "$(tail -n 1 "$CONNECTION" 2>/dev/null)" = READY=1 ] && . "$CONNECTION" && [ -n "$READY" ]; then return; fi
        if grep -qs '"event":"exit"' "$kept/record.jsonl" || [ ! -d "$kept" ] || [ "$SECONDS" -ge "$until" ]; then break; fi
        sleep 0.1
    done
    why=$(sed -n 's/.*"fault":"\(.*\)"}$/\1/p' "$kept/record.jsonl" 2>/dev/null | head -n 1)
    fault "the cluster of $CONNECTION is gone${why:+: $why}"
    exit 75
}
