#!/bin/bash
# components.sh: the components of a heterogeneous job (in local mode: processes side by side), all at once or each when
# those that it waits for have succeeded. Ends when all have ended, with the highest exit code. launcher.sh brings
#   IDS[]       their ids, in the order of Slurm's components
#   AFTER[]     numbers of those that each waits for
#   LIMITS[]    seconds after which a component is ended here, since Slurm will not do it; may be empty
#   ON_FAILURE  cancel: a failing component ends the others after GRACE seconds; wait: it does not
#   KILL_AFTER  seconds between TERM and KILL
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
. "$HERE/notes.sh"
# shellcheck disable=SC1091
. "$HERE/step.sh"
# shellcheck disable=SC1091
. "$HERE/machine.sh"
# shellcheck disable=SC1091
. "$DAGSTER_SLURM_RUN_DIR/launcher.sh"

RESTART=${DAGSTER_SLURM_RESTART:-0}
PIDS=()  # of component.sh
STATE=() # waiting, running, succeeded, failed, skipped
CODES=()
KILL_AT=()
END_AT=()
TOLD=
FAILED= # the number of the component that failed first
STOP_AT=

# shellcheck disable=SC2153
directory() { printf '%s' "$DAGSTER_SLURM_RUN_DIR/components/${IDS[$1]}"; }

# the environment by which components find each other
introduce() {
    local number name nodes
    for number in "${!IDS[@]}"; do
        nodes=$HOSTNAME
        if [ -z "$LOCAL" ]; then
            name=SLURM_JOB_NODELIST_HET_GROUP_$number
            nodes=$(scontrol show hostnames "${!name:-$SLURM_JOB_NODELIST}" | tr '\n' ',')
        fi
        export "DAGSTER_SLURM_COMPONENT_${NAMES[number]}_NODES=${nodes%,}"
    done
    export DAGSTER_SLURM_SHARED_DIR=$DAGSTER_SLURM_RUN_DIR/work DAGSTER_SLURM_LEADER=$DAGSTER_SLURM_JOB_ID
}

# writes a line into a component's record: $1 number, $2 fields
note_for() { DAGSTER_SLURM_RUN_DIR=$(directory "$1") note "$2"; }

# an end that stands, of before the job was started again
ended_before() {
    local line
    [ "$RESTART" -gt 0 ] || return 1
    line=$(grep '"event":"exit".*"signalled":false' "$(directory "$1")/record.jsonl" | tail -n 1)
    [ -n "$line" ] || return 1
    line=${line##*\"code\":}
    CODES[$1]=${line%%,*}
}

begin() {
    if ended_before "$1"; then
        judge "$1"
        return
    fi
    DAGSTER_SLURM_COMPONENT=${IDS[$1]} bash "$HERE/component.sh" "$1" &
    PIDS[$1]=$!
    STATE[$1]=running
    [ -z "${LIMITS[$1]}" ] || END_AT[$1]=$((${LIMITS[$1]} + BEGUN))
}

judge() {
    STATE[$1]=succeeded
    [ "${CODES[$1]}" -ne 0 ] || ! grep -q "\"event\":\"exit\".*\"restart\":$RESTART,.*\"signalled\":true" "$(directory "$1")/record.jsonl" || CODES[$1]=1
    [ "${CODES[$1]}" -ne 0 ] || return 0
    STATE[$1]=failed
    [ -z "$FAILED" ] || return 0
    FAILED=$1
    [ "$ON_FAILURE" != cancel ] || STOP_AT=$((SECONDS + GRACE))
}

# why a component is ended or not begun: the one that failed
blame() { printf 'component %s failed' "${IDS[$1]}"; }

skip() { # number, number of the one to blame
    local text
    text="was not started, since $(blame "$2")"
    note_for "$1" "\"stopped\":$(json "$text"),\"cause\":\"stopped\""
    bash "$HERE/component.sh" "$1" not-begun "$text"
    STATE[$1]=skipped
    CODES[$1]=1
}

# starts a component whose predecessors have succeeded, gives one up whose predecessor did not
consider() {
    local other
    for other in ${AFTER[$1]}; do
        case ${STATE[other]} in
            failed | skipped) skip "$1" "${FAILED:-$other}" && return ;;
            succeeded) ;;
            *) return 0 ;;
        esac
    done
    begin "$1"
}

# tells a component to end: $1 number, $2 why, $3 the cause
stop() {
    [ -z "${KILL_AT[$1]}" ] || return 0
    KILL_AT[$1]=$((SECONDS + KILL_AFTER))
    note_for "$1" "\"stopped\":$(json "$2"),\"cause\":\"$3\""
    kill -TERM "${PIDS[$1]}" 2>/dev/null
}

# what is due by the clock
enforce() {
    local number
    for number in "${!IDS[@]}"; do
        if [ "${STATE[number]}" = running ]; then
            if [ -n "$STOP_AT" ] && [ "$SECONDS" -ge "$STOP_AT" ]; then
                stop "$number" "was ended, since $(blame "$FAILED")" stopped
            elif [ -n "${END_AT[number]}" ] && [ "$SECONDS" -ge "${END_AT[number]}" ]; then
                stop "$number" "reached its time limit" time_limit
            fi
            if [ -n "${KILL_AT[number]}" ] && [ "$SECONDS" -ge "${KILL_AT[number]}" ]; then
                kill -USR2 "${PIDS[number]}" 2>/dev/null
            fi
        elif [ "${STATE[number]}" = waiting ] && [ -n "$STOP_AT" ]; then
            skip "$number" "$FAILED"
        fi
    done
}

# one look at all; 1 when all is over
step_on() {
    local number left=
    for number in "${!IDS[@]}"; do
        if [ "${STATE[number]}" = running ] && ! lives "${PIDS[number]}"; then
            await "${PIDS[number]}"
            CODES[number]=$?
            judge "$number"
        fi
    done
    [ -n "$TOLD" ] || for number in "${!IDS[@]}"; do
        [ "${STATE[number]}" != waiting ] || consider "$number"
    done
    enforce
    for number in "${!IDS[@]}"; do
        case $TOLD:${STATE[number]} in *:running | :waiting) left=1 ;; esac
    done
    [ -n "$left" ]
}

# until a component ends or a signal comes; not long if something is due by the clock
pause() {
    local timer
    sleep 1 &
    timer=$!
    if ((BASH_VERSINFO[0] > 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] >= 3))); then wait -n; else wait "$timer"; fi
    kill "$timer" 2>/dev/null
    wait "$timer" 2>/dev/null
}

trap 'TOLD=1' TERM INT HUP
BEGUN=$SECONDS
introduce
for number in "${!IDS[@]}"; do STATE[number]=waiting; done
while step_on; do pause; done
highest=0
for code in "${CODES[@]}"; do
    # by a signal: a code that says so would be taken for the end of this script itself
    if [ "$code" -gt 128 ] && [ "$code" -le 192 ]; then code=1; fi
    [ "$code" -le "$highest" ] || highest=$code
done
exit "$highest"
