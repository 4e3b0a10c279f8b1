# shellcheck shell=bash
# Sourced by the launchers' scripts: a step of the job, started by srun, that signals can reach.
#
# TERM to srun kills its step at once: no trap of the payload's runs, and the exit code is lost. So srun gets a process
# group of its own, out of reach of the job script's signals, and signals go through Slurm to the processes of the step.

SRUN=

# start_step STATE SRUN-OPTIONS... COMMAND...: in the background; STATE is a file to which a process of the step writes
# its id, and maybe more behind it
start_step() {
    STEP_FILE=$1
    shift
    # the job's limits bind each step anyhow; these variables are another component's in a heterogeneous job
    unset SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU SLURM_CPUS_PER_TASK SLURM_TRES_PER_TASK \
        SLURM_NTASKS_PER_NODE SLURM_NTASKS SLURM_NPROCS
    set -m
    # in a component of a heterogeneous job: on its own nodes
    srun ${DAGSTER_SLURM_HET_GROUP:+--het-group="$DAGSTER_SLURM_HET_GROUP"} "$@" </dev/null &
    SRUN=$!
    set +m
}

# the id of the step that this process belongs to, as scancel knows it
step_id() { printf '%s.%s\n' "${DAGSTER_SLURM_STEP_JOB:-$SLURM_JOB_ID}" "$SLURM_STEP_ID"; }

# signal_step NAME
signal_step() {
    local step
    if read -r step _ 2>/dev/null <"$STEP_FILE"; then
        scancel --signal="$1" "$step" 2>/dev/null && return 0
    fi
    # nothing runs yet, or the controller does not answer
    kill -s "$1" "$SRUN" 2>/dev/null
}

# The exit code of a child. A trap interrupts `wait`, which then tells the signal and not the child's code: wait again.
await() {
    local status again
    while :; do
        wait "$1"
        status=$?
        kill -0 "$1" 2>/dev/null || break
    done
    if wait "$1" 2>/dev/null; then again=0; else again=$?; fi
    [ "$again" -eq 127 ] && return "$status"
    return "$again"
}

# the job's first node, where this script runs
first_node() { printf '%s' "${SLURMD_NODENAME:-$HOSTNAME}"; }

# another node of the job, if there is one: the way there tells which interface to use
another_node() { scontrol show hostnames "${SLURM_JOB_NODELIST:-}" 2>/dev/null | grep -vx "$(first_node)" | head -n 1; }
