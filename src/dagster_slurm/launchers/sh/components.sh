#!/bin/bash
# components.sh: the components of a heterogeneous job (in local mode: processes side by side), all at once or each when
# those that it waits for have succeeded. Ends when all have ended, with the highest exit code. launcher.sh brings
#   IDS[]       their ids, in the order of Slurm's components
#   AFTER[]     numbers of those that each waits for
#   LIMITS[]    seconds after which a component is ended here, since Slurm will not do it; may be empty
#   ON_FAILURE  cancel: a failing component ends the others after GRACE milliseconds; wait: it does not
#   KILL_AFTER  seconds between TERM and KILL
# Times are in milliseconds, where bash knows them (5.0); else in whole seconds.
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
NOW=
DUE=

# shellcheck disable=SC2153
directory() { printf '%s' "$DAGSTER_SLURM_RUN_DIR/components/${IDS[$1]}"; }

# the environment by which components find each other
introduce() {
    local number name nodes
    for number in "${!IDS[@]}"; do
        nodes=$HOSTNAME
        if [ -z "$LOCAL" ]; then
            name=SLURM_JOB_NODELIST_HET_GROUP_$number
            nodes=${!name:-$SLURM_JOB_NODELIST}
            case $nodes in *[[,]*) nodes=$(scontrol show hostnames "$nodes" | tr '\n' ',') ;; esac
        fi
        export "DAGSTER_SLURM_COMPONENT_${NAMES[number]}_NODES=${nodes%,}"
    done
    export DAGSTER_SLURM_SHARED_DIR=$DAGSTER_SLURM_RUN_DIR/work DAGSTER_SLURM_LEADER=$DAGSTER_SLURM_JOB_ID
}

clock() {
    NOW=${EPOCHREALTIME//[.,]/}
    NOW=${NOW:+$((NOW / 1000))}
    NOW=${NOW:-$((SECONDS * 1000))}
}

# A pipe through which a component says that it has ended. Reading from it, unlike `wait`, neither loses an end that came a
# moment ago nor a signal, and can be given up in time.
listen() {
    local folder pipe
    for folder in "${TMPDIR:-/tmp}" /tmp "$DAGSTER_SLURM_RUN_DIR"; do
        pipe=$folder/.dagster-slurm.$$.$RANDOM
        mkfifo -m 600 "$pipe" 2>/dev/null || continue
        exec 9<>"$pipe"
        rm -f "$pipe" &
        HEARS=1
        return
    done
    HEARS= # no file system here has pipes: looks are all there is
    exec 9<>/dev/null
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
    [ -z "${LIMITS[$1]}" ] || END_AT[$1]=$((${LIMITS[$1]} * 1000 + BEGUN))
}

judge() {
    STATE[$1]=succeeded
    [ "${CODES[$1]}" -ne 0 ] || ! grep -q "\"event\":\"exit\".*\"restart\":$RESTART,.*\"signalled\":true" "$(directory "$1")/record.jsonl" || CODES[$1]=1
    [ "${CODES[$1]}" -ne 0 ] || return 0
    STATE[$1]=failed
    [ -z "$FAILED" ] || return 0
    FAILED=$1
    [ "$ON_FAILURE" != cancel ] || STOP_AT=$((NOW + GRACE))
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
    KILL_AT[$1]=$((NOW + KILL_AFTER * 1000))
    note_for "$1" "\"stopped\":$(json "$2"),\"cause\":\"$3\""
    kill -TERM "${PIDS[$1]}" 2>/dev/null
}

# what is due by the clock
enforce() {
    local number
    for number in "${!IDS[@]}"; do
        if [ "${STATE[number]}" = running ]; then
            if [ -n "$STOP_AT" ] && [ "$NOW" -ge "$STOP_AT" ]; then
                stop "$number" "was ended, since $(blame "$FAILED")" stopped
            elif [ -n "${END_AT[number]}" ] && [ "$NOW" -ge "${END_AT[number]}" ]; then
                stop "$number" "reached its time limit" time_limit
            fi
            if [ -n "${KILL_AT[number]}" ] && [ "$NOW" -ge "${KILL_AT[number]}" ]; then
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
    clock
    for number in "${!IDS[@]}"; do
        # one that was killed could not say that it ended
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

# milliseconds until something is due by the clock, a second at most
due_in() {
    local number due at
    clock
    due=$((NOW + 1000))
    for number in "${!IDS[@]}"; do
        [ "${STATE[number]}" = running ] || continue
        if [ -n "${KILL_AT[number]}" ]; then at=${KILL_AT[number]}; else at=$STOP_AT; fi
        for at in $at ${END_AT[number]}; do
            if [ "$at" -gt "$NOW" ] && [ "$at" -lt "$due" ]; then due=$at; fi
        done
    done
    DUE=$((due - NOW))
}

# until a component ends, or something is due by the clock; at most a second
pause() {
    local number code
    due_in
    if [ -z "$HEARS" ]; then
        sleep 0.2
        return
    fi
    # before bash 4 in whole seconds
    if [ "${BASH_VERSINFO[0]}" -lt 4 ]; then DUE=1; else printf -v DUE '%d.%03d' $((DUE / 1000)) $((DUE % 1000)); fi
    read -r -t "$DUE" -u 9 number code || return 0
    [ "${STATE[number]}" = running ] || return 0
    wait "${PIDS[number]}" 2>/dev/null
    clock
    CODES[number]=$code
    judge "$number"
}

trap 'TOLD=1' TERM INT HUP
clock
BEGUN=$NOW
listen
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
