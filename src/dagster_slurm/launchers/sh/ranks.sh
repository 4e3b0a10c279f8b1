#!/bin/bash
# ranks.sh COMMAND...: one process per task on all nodes of the job, or of this machine. Settings come from launcher.sh.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
. "$HERE/notes.sh"
# shellcheck disable=SC1091
. "$HERE/step.sh"
# shellcheck disable=SC1091
. "$DAGSTER_SLURM_RUN_DIR/launcher.sh"
# shellcheck disable=SC1091
. "$HERE/machine.sh"

STATE=$DAGSTER_SLURM_RUN_DIR/ranks.$DAGSTER_SLURM_RESTART
umask_before=$(umask)
umask 077
mkdir -p "$STATE" || exit 66
: >"$STATE/step"
umask "$umask_before"

if [ -n "$LOCAL" ]; then
    MASTER_ADDR=127.0.0.1
    read -r MASTER_PORT < <("$TOOL" -I -S "$HERE/node_address.py" --port)
    export MASTER_ADDR MASTER_PORT RANKS_STATE="$STATE" MUTED
else
    read -r MASTER_ADDR MASTER_PORT < <("$TOOL" -I -S "$HERE/node_address.py" --address --port \
        --interface "$INTERFACE" --toward "$(another_node)")
    # without Python: the name, which resolves on most clusters, and a port that few others will have
    MASTER_ADDR=${MASTER_ADDR:-$(first_node)}
    export MASTER_ADDR MASTER_PORT="${MASTER_PORT:-$((20000 + ${SLURM_JOB_ID:-$$} % 12000))}" RANKS_STATE="$STATE" MUTED
fi

COMMAND=("$@")
if [ -n "$TORCHRUN" ]; then
    in_environment "$PYTHON" -c 'import torch.distributed.run' 2>/dev/null || {
        fault "torchrun=True, but $(python_here) on $(first_node) cannot import torch.distributed.run; add torch to the project's packages, or name an environment that has it"
        exit 66
    }
    # torchrun stands behind the words that start a container, and its workers within
    set -- "${@:${#PREFIX[@]}+1}"
    # static rendezvous: the node of rank 0 is known, and nothing has to be found out
    COMMAND=("${PREFIX[@]}" "$PYTHON" -m torch.distributed.run --nnodes "$NODES" --nproc-per-node "$TASKS_PER_NODE" --node-rank @NODE@
        --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT" --max-restarts 0 --no-python
        "$PYTHON" -S "$HERE/local_ranks.py" 1 "$@")
fi

# ends as the rank did that failed first; the others were ended because of it
finish() {
    local rank node code
    if [ "$1" -ne 0 ] && read -r rank node code 2>/dev/null <"$STATE/failed"; then
        fault "rank $rank on $node $(how "$code")"
        exit "$code"
    fi
    exit "$1"
}

if [ -n "$LOCAL" ]; then
    # signals reach the whole group: they are the ranks' to answer
    for name in TERM INT HUP USR1 USR2 QUIT; do trap : "$name"; done
    if [ -n "$TORCHRUN" ]; then
        "${COMMAND[@]/#@NODE@/0}"
    else
        "$TOOL" -S "$HERE/local_ranks.py" "$TASKS_PER_NODE" "${COMMAND[@]}"
    fi
    finish $?
fi

tasks=$TASKS_PER_NODE
label=(--label)
[ -z "$TORCHRUN" ] || { tasks=1 label=(); }
[ -z "$CPUS_PER_TASK" ] || SRUN_ARGS=(--cpus-per-task="$CPUS_PER_TASK" "${SRUN_ARGS[@]}")
for name in TERM INT HUP USR1 USR2 QUIT; do
    # shellcheck disable=SC2064
    trap "signal_step $name" "$name"
done
start_step "$STATE/step" --nodes="$NODES" --ntasks=$((NODES * tasks)) --ntasks-per-node="$tasks" --kill-on-bad-exit=1 \
    --distribution=block "${label[@]}" "${SRUN_ARGS[@]}" bash "$HERE/rank.sh" "${COMMAND[@]}"
await "$SRUN"
finish $?
