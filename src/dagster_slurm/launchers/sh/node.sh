#!/bin/bash
# node.sh FRAMEWORK: the daemons of one node, from their start to the last trace of them. FRAMEWORK_node.sh brings the functions
# start_daemons (fills DAEMONS and NAMES, side by side) and keep_logs.
#
# Told to stop by TERM: at once if the driver says so in $STATE/stop, else (cancel, time limit) after GRACE seconds, so that
# the payload can save. A driver that is gone ends it as well.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FRAMEWORK=$1
# shellcheck disable=SC1091
. "$DAGSTER_SLURM_RUN_DIR/launcher.sh"
# shellcheck disable=SC1091
. "$HERE/machine.sh"
# shellcheck disable=SC1091
. "$HERE/step.sh"
RANK=${SLURM_PROCID:-0}
[ -z "$LOCAL" ] || RANK=0
NODE=${SLURMD_NODENAME:-$HOSTNAME}
GRACE_END=
DAEMONS=()
NAMES=()
umask 077
exec >>"$STATE/$FRAMEWORK-$RANK.log" 2>&1 </dev/null
# the step, and the names of its nodes: those of the job may be more
if [ "$RANK" = 0 ] && [ -z "$LOCAL" ]; then
    echo "$(step_id) $(scontrol show hostnames "${SLURM_STEP_NODELIST:-}" 2>/dev/null | tr '\n' ,)" >"$STATE/step"
fi

[ -n "$LOCAL" ] || own_devices

TEMP=

# a private folder; paths of sockets below it have at most 107 bytes
make_temp() {
    local place=${TMPDIR:-/tmp}
    if [ ${#place} -gt 30 ] || [ ! -w "$place" ]; then place=/tmp; fi
    TEMP=$(mktemp -d "$place/dsc.XXXXXX")
    cd "${TEMP:-/nonexistent}" || die "no temporary folder can be made in $place"
}

# a signal ends it at once
pause() {
    sleep "$1" &
    wait $!
}

# Everything that a daemon started carries our mark in its environment, wherever it went
sweep() {
    [ -n "$TEMP" ] || return 0
    local file
    grep -lzsxF "DAGSTER_SLURM_CLUSTER=$TEMP" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ file _; do
        kill -KILL "$file" 2>/dev/null
    done
}

stop() {
    trap '' TERM INT HUP
    local daemon
    for daemon in "${DAEMONS[@]}"; do kill -TERM "$daemon" 2>/dev/null; done
    for _ in 1 2 3 4 5 6 7 8; do
        local left=
        for daemon in "${DAEMONS[@]}"; do lives "$daemon" && left=1; done
        [ -n "$left" ] || break
        sleep 0.1
    done
    sweep
    cd / && [ -n "$TEMP" ] && { rm -rf "$TEMP" || { sleep 0.3 && rm -rf "$TEMP"; }; }
    exit "$1"
}

die() {
    echo "$NODE: $1" | tee -a "$STATE/failed.$RANK"
    keep_logs
    stop_all
    stop 1
}

# the other nodes as well: each must tidy up, so none is killed
stop_all() {
    echo stop >>"$STATE/stop"
    [ -n "$LOCAL" ] || scancel --signal=TERM "$(step_id)" 2>/dev/null
}

# the mark is for the daemons alone: this script must not find itself
marked() { DAGSTER_SLURM_CLUSTER=$TEMP exec "$@"; }

told_to_stop() { GRACE_END=${GRACE_END:-$((SECONDS + ${GRACE%.*} + 1))}; }

is_over() {
    local word=
    if read -r word 2>/dev/null <"$STATE/stop" && [ -n "$word" ]; then return 0; fi
    if [ -n "$GRACE_END" ] && [ "$SECONDS" -ge "$GRACE_END" ]; then return 0; fi
    # the driver runs on one node alone, which the daemons of a part of an allocation need not share
    if [ "$NODE" = "$DRIVER_NODE" ] && ! lives "$DRIVER"; then
        stop_all
        return 0
    fi
    return 1
}

# our own address, in the network that leads to the others
address_here() {
    local toward found
    found=$(own_address)
    if [ -z "$found" ] && [ -n "$LOCAL" ] && [ -z "$INTERFACE" ]; then found=127.0.0.1; fi
    if [ -z "$found" ]; then
        toward=$(scontrol show hostnames "${SLURM_JOB_NODELIST:-}" 2>/dev/null | grep -vxF "$NODE" | head -n 1)
        found=$("$TOOL" -I -S "$HERE/node_address.py" --address --interface "$INTERFACE" --toward "$toward")
    fi
    printf '%s' "$found"
}

free_port() { "$TOOL" -I -S "$HERE/node_address.py" --port; }

# the head's line in $STATE/address; 1 if it is over before there is one
head_address() {
    HEAD=
    until read -r HEAD 2>/dev/null <"$STATE/address" && [ -n "$HEAD" ]; do
        if is_over; then return 1; fi
        pause 0.1
    done
}

# shellcheck disable=SC1090
. "$HERE/${FRAMEWORK}_node.sh"
trap told_to_stop TERM INT HUP
cd / || exit 1
pre_start || die "a line of pre_start_commands ended with exit code $?"
make_temp
ADDRESS=$(address_here)
[ -n "$ADDRESS" ] || die "no address of this node was found: name network_interface or node_ip_address_command"
start_daemons
while :; do
    for at in "${!DAEMONS[@]}"; do
        if ! lives "${DAEMONS[at]}"; then
            wait "${DAEMONS[at]}"
            code=$?
            is_over && stop 0
            die "${NAMES[at]} ended with exit code $code"
        fi
    done
    is_over && stop 0
    pause 0.5
done
