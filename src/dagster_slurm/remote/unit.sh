#!/bin/bash
# unit.sh DIRECTORY: one unit of work in a session, started by srun on each of its nodes. The first task runs the unit's job
# script; the others keep their nodes' share for the steps that the script starts, until standard input ends.
# Lines that begin with "=unit=" are for the session's agent, who reads them through srun.
printf '=unit= %s %s\n' "$SLURM_JOB_ID.$SLURM_STEP_ID" "$SLURMD_NODENAME"
if [ "$SLURM_STEP_NUM_NODES" -gt 1 ]; then
    # steps within this one see the same devices: Slurm would give each of them the node's first
    printf '%s\n' "${CUDA_VISIBLE_DEVICES-}" >"$1/devices.$SLURMD_NODENAME"
fi
if [ "$SLURM_PROCID" != 0 ]; then
    trap '' TERM INT HUP USR1 USR2 QUIT
    exec cat >/dev/null
fi
# to the job script, its step is what the job is
export SLURM_JOB_NODELIST=$SLURM_STEP_NODELIST SLURM_JOB_NUM_NODES=$SLURM_STEP_NUM_NODES
export SLURM_NODELIST=$SLURM_STEP_NODELIST SLURM_NNODES=$SLURM_STEP_NUM_NODES
exec bash "$1/job.sh" "$SLURM_JOB_ID.$SLURM_STEP_ID" </dev/null
