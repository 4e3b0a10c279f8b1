#!/bin/bash
# rank.sh COMMAND...: one task of a step. Says who it is, keeps all but rank 0 from speaking to Dagster, and notes a failure.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
. "$HERE/step.sh"
# shellcheck disable=SC2329
forward() { [ -z "$PAYLOAD" ] || kill -s "$1" -- "-$PAYLOAD" 2>/dev/null; }

PAYLOAD=
RANK=$SLURM_PROCID
own_devices
if [ "$RANK" = 0 ]; then
    step_id >"$RANKS_STATE/step"
fi
if [[ " $* " == *" @NODE@ "* ]]; then
    # torchrun tells its workers who they are
    words=()
    for word in "$@"; do
        [ "$word" = @NODE@ ] && word=$SLURM_NODEID
        words+=("$word")
    done
    set -- "${words[@]}"
else
    export RANK LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS NODE_RANK=$SLURM_NODEID
    export LOCAL_WORLD_SIZE=${SLURM_NTASKS_PER_NODE:-$((SLURM_NTASKS / SLURM_NNODES))}
    [ "$RANK" = 0 ] || export DAGSTER_PIPES_MESSAGES=$MUTED
    unset MUTED
fi

# with cgroups a signal to the step reaches the first process of each task alone, which is this one: it hands it on
for name in TERM INT HUP USR1 USR2 QUIT; do
    # shellcheck disable=SC2064
    trap "forward $name" "$name"
done
set -m
"$@" &
PAYLOAD=$!
set +m
await "$PAYLOAD"
code=$?
if [ "$code" -ne 0 ]; then
    # whoever is first is to blame: the others are ended because of it, or lose their peer
    (set -C && echo "$RANK ${SLURMD_NODENAME:-$HOSTNAME} $code" >"$RANKS_STATE/failed") 2>/dev/null
fi
exit "$code"
