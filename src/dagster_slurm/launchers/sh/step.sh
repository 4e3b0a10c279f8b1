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
    if [ -n "${DAGSTER_SLURM_STEP_OPTIONS:-}" ]; then
        start_step_of_unit "$@"
        return
    fi
    set -m
    # in a component of a heterogeneous job: on its own nodes
    srun ${DAGSTER_SLURM_HET_GROUP:+--het-group="$DAGSTER_SLURM_HET_GROUP"} "$@" </dev/null &
    SRUN=$!
    set +m
}

# The same in a unit of a session, on its nodes. What Slurm signals of the unit's step may be all that descends from its script
# (proctrack/linuxproc), and TERM to srun would kill the step: so srun is nobody's child, and one that ignores signals waits
# for its exit code in its place.
start_step_of_unit() {
    local options
    read -r -a options <<<"$DAGSTER_SLURM_STEP_OPTIONS"
    exec 6>&1
    # the inner shell ends at once; what it started belongs to the node's init
    exec 7< <(
        set -m
        {
            srun "${options[@]}" "$@" </dev/null >&6 6>&- &
            echo "$!" >"$STEP_FILE.srun"
            wait "$!"
            echo "$?"
        } &
    )
    (
        trap '' TERM INT HUP USR1 USR2 QUIT
        read -r code <&7
        exit "${code:-137}"
    ) &
    SRUN=$!
    exec 6>&- 7<&-
}

# Of all devices of the allocation that a step in a unit sees, those of its unit: by their numbers on the node, in whatever way
# this site numbers them for a step.
own_devices() {
    local file=$DAGSTER_SLURM_RUN_DIR/devices.${SLURMD_NODENAME:-} wanted name at here
    local -a all seen
    case " ${DAGSTER_SLURM_STEP_OPTIONS:-} " in *--gres=none* | '  ') return 0 ;; esac
    # the unit's task on this node writes it as it begins
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ ! -s "$file" ] || break
        sleep 0.2
    done
    read -r wanted <"$file" && [ -n "$wanted" ] || return 0
    IFS=, read -r -a all <<<"${SLURM_STEP_GPUS:-}"
    for name in CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK; do
        [ -n "${!name:-}" ] || continue
        IFS=, read -r -a seen <<<"${!name}"
        [ ${#seen[@]} -eq ${#all[@]} ] || continue
        here=
        for at in "${!all[@]}"; do case ",$wanted," in *",${all[at]},"*) here=$here,${seen[at]} ;; esac; done
        export "$name=${here#,}"
    done
    export SLURM_STEP_GPUS=$wanted
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
    if ! read -r step 2>/dev/null <"$STEP_FILE.srun"; then step=$SRUN; fi
    kill -s "$1" "$step" 2>/dev/null
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
