#!/bin/bash
# component.sh NUMBER: one component of a heterogeneous job, from the batch script's side: starts its run directory's script
# as a step on its own nodes (in local mode: as a process beside us), hands signals on, and notes an end of which the
# component could tell nothing itself. Ends with its exit code.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
. "$HERE/notes.sh"
# shellcheck disable=SC1091
. "$HERE/step.sh"
# shellcheck disable=SC1091
. "$DAGSTER_SLURM_RUN_DIR/launcher.sh"

NUMBER=$1
ID=${IDS[NUMBER]}
DIR=$DAGSTER_SLURM_RUN_DIR/components/$ID
TOLD=

signal_component() {
    if [ -n "$LOCAL" ]; then kill -s "$1" "$SRUN" 2>/dev/null; else signal_step "$1"; fi
}
# shellcheck disable=SC2329
told() {
    TOLD=1
    [ -z "$SRUN" ] || signal_component "$1"
}

# CPUs of the component's first node: "8(x2),4" are three nodes
cpus() {
    local name=SLURM_JOB_CPUS_PER_NODE_HET_GROUP_$NUMBER all
    all=${!name:-$SLURM_JOB_CPUS_PER_NODE}
    printf '%s' "${all%%[(,]*}"
}

start() {
    : >"$DIR/step"
    if [ -n "$LOCAL" ]; then
        set -m
        bash "$DIR/job.sh" </dev/null >>"$DIR/slurm.log" 2>&1 9>&- &
        SRUN=$!
        set +m
        return
    fi
    # Overlapping, so that the steps that the payload starts find everything free; --mem=0 is all that the component has.
    DAGSTER_SLURM_HET_GROUP=${SLURM_HET_SIZE:+$NUMBER} start_step "$DIR/step" --overlap --nodes=1 --ntasks=1 --ntasks-per-node=1 \
        --cpus-per-task="$(cpus)" --mem=0 --kill-on-bad-exit=0 bash "$DIR/job.sh" >>"$DIR/slurm.log" 2>&1 9>&-
}

size() { if [ -e "$DIR/$1" ]; then wc -c <"$DIR/$1" | tr -d ' '; else echo 0; fi; }

# writes the exit line that the component did not write: $1 code, $2 true if it was signalled, $3 phase, $4 why
end_for_it() {
    local restart=${DAGSTER_SLURM_RESTART:-0}
    printf '{"event":"exit","job":"%s+%d","restart":%d,"time":%s,"code":%d,"signalled":%s,"signals":"","phase":"%s","text":%s,"sizes":{"stdout":%d,"stderr":%d,"messages":%d}}\n' \
        "$DAGSTER_SLURM_JOB_ID" "$NUMBER" "$restart" "$(seconds)" "$1" "$2" "$3" "$(json "$4")" \
        "$(size "stdout.$restart")" "$(size "stderr.$restart")" "$(size "messages.$restart.jsonl")" >>"$DIR/record.jsonl"
}

has() { grep -q "\"event\":\"$1\".*\"restart\":${DAGSTER_SLURM_RESTART:-0}," "$DIR/record.jsonl"; }

if [ "$2" = not-begun ]; then
    end_for_it 1 false not-begun "$3"
    exit
fi
# components.sh listens; what is started here does not speak to it
trap 'echo "$NUMBER $?" >&9' EXIT
for name in TERM INT HUP; do
    # shellcheck disable=SC2064
    trap "told $name" "$name"
done
trap 'signal_component KILL' USR2
start
[ -z "$TOLD" ] || signal_component TERM
await "$SRUN"
code=$?
if has exit; then
    exit "$code"
elif has start; then
    [ "$code" -ne 0 ] || code=137
    end_for_it "$code" true payload ""
elif [ -z "$TOLD" ]; then
    [ "$code" -ne 0 ] || code=1
    end_for_it "$code" false step "$(grep -v '^$' "$DIR/slurm.log" | tail -n 1)"
fi
exit "$code"
