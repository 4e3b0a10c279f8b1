#!/bin/bash
# Starts one program in the background so that it outlives us, and records which process it is.
# usage: daemon.sh PID_FILE LOG_FILE COMMAND [ARGUMENT...]
set -eu
pid_file=$1 log_file=$2
shift 2
# With job control a background process keeps the default action for SIGINT; without it, it and every Slurm job below
# would ignore the signal.
set -m
"$@" </dev/null >>"$log_file" 2>&1 &
# Field 22 is the start time: with it nobody mistakes a later process of the same id for this one.
read -r -a stat <"/proc/$!/stat"
echo "$! ${stat[21]}" >"$pid_file"
disown
