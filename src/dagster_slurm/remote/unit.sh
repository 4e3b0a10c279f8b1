#!/bin/bash
# unit.sh DIRECTORY GRES: one unit of work in a session, started by srun on each of its nodes. The first task runs the unit's
# job script; the others keep their nodes' share for the steps that the script starts, until standard input ends.
# Lines that begin with "=unit=" are for the session's agent, who reads them through srun.
printf '=unit= %s %s %s\n' "$SLURM_JOB_ID.$SLURM_STEP_ID" "$SLURMD_NODENAME" "$SLURM_PROCID"
# which of the node's devices are ours: the steps within this one are told, for Slurm would give each of them the first
[ "$2" = none ] || printf '%s\n' "${SLURM_STEP_GPUS-}" >"$1/devices.$SLURMD_NODENAME"
if [ "$SLURM_PROCID" != 0 ]; then
    trap '' TERM INT HUP USR1 USR2 QUIT
    exec cat >/dev/null
fi
# to the job script, its step is what the job is
export SLURM_JOB_NODELIST=$SLURM_STEP_NODELIST SLURM_JOB_NUM_NODES=$SLURM_STEP_NUM_NODES
export SLURM_NODELIST=$SLURM_STEP_NODELIST SLURM_NNODES=$SLURM_STEP_NUM_NODES
# how srun, from here, starts what belongs to this unit: beside it on its nodes, out of Slurm's reckoning. Without --gres such a
# step has all devices of the allocation, of which it may then use those of its unit.
DAGSTER_SLURM_STEP_OPTIONS="--overlap --nodelist=$SLURM_STEP_NODELIST --mem=${SLURM_MEM_PER_NODE:-0}M"
[ "$2" != none ] || DAGSTER_SLURM_STEP_OPTIONS+=" --gres=none"
export DAGSTER_SLURM_STEP_OPTIONS
export DAGSTER_SLURM_UNIT_CPUS=${SLURM_CPUS_ON_NODE-} DAGSTER_SLURM_UNIT_MIB=${SLURM_MEM_PER_NODE-}
# what was said of this step is no default for those
unset SLURM_EXACT SLURM_MPI_TYPE SLURM_DISTRIBUTION SLURM_CPU_BIND SLURM_CPU_BIND_LIST SLURM_CPU_BIND_TYPE \
    SLURM_CPU_BIND_VERBOSE SLURM_NTASKS_PER_NODE SLURM_TASKS_PER_NODE SLURM_NTASKS SLURM_NPROCS SLURM_KILL_BAD_EXIT
exec bash "$1/job.sh" "$SLURM_JOB_ID.$SLURM_STEP_ID" </dev/null
