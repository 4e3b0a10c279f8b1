#!/bin/bash
# cluster.sh FRAMEWORK COMMAND...: daemons on all nodes of the job (or on this machine), then the payload, then nothing is left.
# cluster.sh FRAMEWORK: the daemons alone, until TERM or a line in $STATE/stop. When all are up, $STATE/connection says how
#   drivers find them: shell assignments, the last of them READY=1.
# Settings come from launcher.sh: with EXISTING or CONNECTION no daemon is started, the payload alone. FRAMEWORK.sh brings the
# functions prepare (which also reads CONNECTION), ready, publish, enter.
#
# One srun starts node.sh on every node. Names that others read are made before anybody looks for them, and are read by
# opening them: on NFS a new name can stay invisible for a minute, and a closed file's new bytes show when it is opened.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
. "$HERE/notes.sh"
# shellcheck disable=SC1091
. "$HERE/step.sh"
# shellcheck disable=SC1091
. "$DAGSTER_SLURM_RUN_DIR/launcher.sh"
# shellcheck disable=SC1091
. "$HERE/machine.sh"
FRAMEWORK=$1
shift
# shellcheck disable=SC1090
. "$HERE/$FRAMEWORK.sh"

export STATE=$DAGSTER_SLURM_RUN_DIR/$FRAMEWORK.$DAGSTER_SLURM_RESTART DRIVER=$$
DRIVER_NODE=$(first_node) && export DRIVER_NODE
export BEGUN=${EPOCHREALTIME/,/.}
BEGUN=${BEGUN:-$(seconds)}
PAYLOAD=
TIDY=
WATCH=
TOLD=
CODE=
umask_before=$(umask)
umask 077

# the payload got the signal too, as a member of our process group; the cluster serves it a little longer
# shellcheck disable=SC2329
told_to_stop() {
    [ -z "$TOLD" ] || return 0
    TOLD=1
    (sleep "$GRACE" && kill -KILL "$PAYLOAD") >/dev/null 2>&1 &
}

# Of what KillWait leaves, two seconds are for the daemons' end and two for that of the job
limit_grace() {
    local limit
    limit=$(scontrol show config 2>/dev/null | sed -n 's/^KillWait *= *\([0-9]*\).*/\1/p')
    [ -z "$limit" ] || GRACE=$(awk -v grace="$GRACE" -v wait="$limit" 'BEGIN { m = wait - 4; if (m < 1) m = 1; print (grace < m) ? grace : m }')
    export GRACE
}

# What a job script that was killed leaves in its session is killed at once, but daemons need a moment to tidy up; node.sh
# sees that its driver is gone. The process keeps its number, and leads a group.
in_own_session() {
    if command -v setsid >/dev/null 2>&1; then exec setsid "$@"; fi
    # macOS has no setsid
    exec "$TOOL" -I -S -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
}

start_nodes() {
    local rank
    : >"$STATE/step" && : >"$STATE/address" && : >"$STATE/stop" && : >"$STATE/connection" || exit 66
    for ((rank = 0; rank < NODES; rank++)); do : >"$STATE/registered.$rank"; done
    if [ -n "$LOCAL" ]; then
        # the job script kills what is left of a payload ten seconds after TERM
        GRACE=$(awk -v grace="$GRACE" 'BEGIN { print (grace < 6) ? grace : 6 }') && export GRACE
        in_own_session bash "$HERE/node.sh" "$FRAMEWORK" </dev/null &
        SRUN=$!
    else
        limit_grace
        start_step "$STATE/step" --nodes="$NODES" --ntasks="$NODES" --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=10 \
            ${CPUS:+--cpus-per-task="$CPUS"} --overlap bash "$HERE/node.sh" "$FRAMEWORK" \
            2>"$STATE/srun.log" # which speaks of an error when the step is told to end
    fi
}

stop_nodes() {
    [ -n "$SRUN" ] || return 0
    echo stop >>"$STATE/stop"
    if [ -n "$LOCAL" ]; then kill -TERM "$SRUN" 2>/dev/null; else signal_step TERM; fi
    # a node that does not answer must not outlast KillWait
    (sleep 4 && if [ -n "$LOCAL" ]; then kill -KILL -- "-$SRUN"; else signal_step KILL; fi) >/dev/null 2>&1 &
    local killer=$!
    await "$SRUN" 2>/dev/null
    kill "$killer" 2>/dev/null
    SRUN=
}

# the daemons' own words; the first that failed is to blame
blame() {
    local rank said=
    for ((rank = 0; rank < NODES; rank++)); do
        # never looked for before, so not remembered as missing
        if [ -s "$STATE/failed.$rank" ]; then
            fault "$(tail -n 1 "$STATE/failed.$rank")"
            show_log "$STATE/$FRAMEWORK-$rank.log"
            said=1
        fi
    done
    [ -n "$said" ] && return
    fault "$1"
    show_log "$STATE/srun.log" 5
}

finish() {
    trap '' TERM INT HUP
    for helper in $TIDY $WATCH; do kill "$helper" 2>/dev/null; done
    stop_nodes
    rm -f "$STATE/secret" "$STATE/conf/spark-defaults.conf" "$STATE/connection"
    exit "$1"
}

# until one of some children ends; a trap ends it too. Old versions of bash cannot wait for any.
wait_for_any() {
    if ((BASH_VERSINFO[0] > 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] >= 3))); then wait -n "$@"; else sleep 0.5; fi
}

# all nodes, or an end with the names of those that are missing
await_ready() {
    ready >"$STATE/ready.json" &
    local watcher=$!
    trap 'kill "$watcher" 2>/dev/null; finish 143' TERM INT HUP
    while lives "$watcher" && { [ -z "$SRUN" ] || lives "$SRUN"; }; do wait_for_any "$watcher" ${SRUN:+"$SRUN"}; done
    if lives "$watcher"; then
        kill "$watcher"
        blame "the nodes' daemons ended before all were up"
        finish 75
    fi
    if ! await "$watcher"; then
        blame "$(tail -n 1 "$STATE/ready.log")"
        for log in "$STATE/$FRAMEWORK"-*.log; do show_log "$log" 5; done
        finish 75
    fi
    FACTS=$(<"$STATE/ready.json")
}

# A cluster without a payload: others bring theirs. Told to stop is a good end, an end by itself is not.
serve() {
    local word=
    tidy &
    TIDY=$!
    trap 'finish 143' TERM INT HUP
    await "$SRUN"
    if read -r word <"$STATE/stop" && [ -n "$word" ] && ! any_failed; then finish 0; fi
    blame "the nodes' daemons ended while others used them"
    finish 75
}

any_failed() {
    local rank
    for ((rank = 0; rank < NODES; rank++)); do [ ! -s "$STATE/failed.$rank" ] || return 0; done
    return 1
}

# As long as a cluster that another keeps is there: its keeper removes what it published, and a head that is gone takes no
# connections.
watch_connection() {
    local place=${EXISTING#spark://} host misses=
    place=${place%%,*} host=${place%:*}
    host=${host#[} host=${host%]}
    while [ -s "$CONNECTION" ] && ! grep -q '"event":"exit"' "${CONNECTION%/*/connection}/record.jsonl"; do
        # some builds of bash know no /dev/tcp: what never worked proves nothing
        if (exec 3<>"/dev/tcp/$host/${place##*:}") 2>/dev/null; then misses=0; else misses=${misses:+$((misses + 1))}; fi
        [ "${misses:-0}" -lt 3 ] || return
        sleep 1
    done
}

run_payload() {
    trap told_to_stop TERM INT HUP
    for name in USR1 USR2 QUIT; do trap : "$name"; done
    umask "$umask_before"
    "$@" &
    PAYLOAD=$!
    umask 077
    if [ -n "$CONNECTION" ]; then
        watch_connection </dev/null >/dev/null 2>&1 &
        WATCH=$!
    fi
    # what the payload cannot do without
    local needs=${SRUN:-$WATCH}
    while lives "$PAYLOAD" && { [ -z "$needs" ] || lives "$needs"; }; do wait_for_any "$PAYLOAD" ${needs:+"$needs"}; done
    if lives "$PAYLOAD" && [ -z "$TOLD" ]; then
        if [ -n "$WATCH" ]; then fault "the warm cluster ended while the payload ran: its logs are in ${CONNECTION%/connection}"; else blame "the nodes' daemons ended while the payload ran"; fi
        CODE=75
        kill -TERM "$PAYLOAD" 2>/dev/null
        (sleep 3 && kill -KILL "$PAYLOAD") >/dev/null 2>&1 &
        await "$PAYLOAD"
    else
        await "$PAYLOAD"
        CODE=$?
    fi
}

mkdir -p "$STATE" || exit 66
prepare
if [ -z "$EXISTING" ]; then start_nodes; fi
# one that another keeps was ready when it was published
if [ -z "$CONNECTION" ]; then await_ready; fi
if [ $# -eq 0 ]; then { publish && echo READY=1; } >>"$STATE/connection"; fi
note "\"facts\":$FACTS"
[ -z "$CLUSTER" ] || note "\"facts\":$CLUSTER"
if [ $# -eq 0 ]; then serve; fi
enter
run_payload "$@"
finish "$CODE"
