# shellcheck shell=bash
# The body of every batch script. What stands above it (rendered, quoted) sets:
#   RUN_DIR COMMAND[] METER[] PATH_FIRST PATH_LAST WARNING SYNC NEEDS_MODULE KILL_AFTER   and fills in the lines marked @...@ below
# The protocol: claim the run, say "start" in record.jsonl, run the payload in a process group of its own, forward signals
# to it, say "exit". An incomplete line of the record does not count, so each is written at once.
# Works with bash 3.2 (macOS) and newer.

JOB=${SLURM_JOB_ID:-$$}
RESTART=${SLURM_RESTART_COUNT:-0}
NODE=${SLURMD_NODENAME:-$HOSTNAME}
PAYLOAD=
SIGNALS=
INTERRUPTED=
KILLER=

# The id of the job that won the right to run here; ours, if nobody was faster. link(2) decides, on NFS as well. A job
# that is started again by Slurm keeps its id and its claim.
claimed_by() {
    if ! [ -e claim ]; then
        printf '%s\n' "$JOB" >"claim.$JOB"
        ln "claim.$JOB" claim 2>/dev/null || (set -C && printf '%s\n' "$JOB" >claim) 2>/dev/null
    fi
    read -r winner <claim && printf '%s' "$winner"
}

# seconds since the epoch; bash 5 knows fractions, spelled as the locale wills
now() {
    if [ -n "$EPOCHREALTIME" ]; then printf '%s' "${EPOCHREALTIME/,/.}"; else date +%s; fi
}

record() {
    printf '{"event":"%s","job":"%s","restart":%d,"time":%s,%s}\n' "$1" "$JOB" "$RESTART" "$(now)" "$2" >>record.jsonl
}

size() {
    if [ -e "$1" ]; then wc -c <"$1"; else echo 0; fi
}

# ends the run: $1 exit code, $2 phase ("payload", or what kept it from starting), $3 its text (JSON string)
finish() {
    signalled=false
    # shellcheck disable=SC2249
    case " $SIGNALS " in *" TERM "* | *" INT "* | *" HUP "*) signalled=true ;; esac
    # a shell's way to say that a signal ended something; codes above are the payload's own (255: sys.exit(-1))
    { [ "$1" -le 128 ] || [ "$1" -gt 192 ]; } || signalled=true
    record exit "$(printf '"code":%d,"signalled":%s,"signals":"%s","phase":"%s","text":%s,"sizes":{"stdout":%d,"stderr":%d,"messages":%d}' \
        "$1" "$signalled" "${SIGNALS# }" "$2" "$3" \
        "$(size "stdout.$RESTART")" "$(size "stderr.$RESTART")" "$(size "messages.$RESTART.jsonl")")"
    # a job that was signalled may be requeued and needs its variables again
    [ "$signalled" = true ] || rm -f env.sh
    [ -z "$SYNC" ] || sync record.jsonl 2>/dev/null
    exit "$1"
}

forward() {
    SIGNALS="$SIGNALS $1"
    INTERRUPTED=1
    [ -n "$PAYLOAD" ] || return 0
    kill -s "$1" -- "-$PAYLOAD" 2>/dev/null
    # what Slurm does after KillWait, nobody does for a process beside Dagster
    if [ -n "$KILL_AFTER" ] && [ "$1" = TERM ] && [ -z "$KILLER" ]; then
        (sleep "$KILL_AFTER" && kill -KILL -- "-$PAYLOAD") >/dev/null 2>&1 &
        KILLER=$!
    fi
}

# A prelude's failing line ends the job and is named: $1 exit code, $2 its line in job.sh
# shellcheck disable=SC2329
prelude_failed() {
    cd "$RUN_DIR" || exit 66
    text=$(sed -n "$2p" job.sh | tr -d '\000-\037')
    printf 'dagster-slurm: the prelude failed with exit code %d at: %s\n' "$1" "$text" >&2
    text=${text//\\/\\\\}
    finish "$1" prelude "\"${text//\"/\\\"}\""
}

# `module` is a shell function that only login shells define
provide_module() {
    for init in "${MODULESHOME:-/nonexistent}/init/bash" "${LMOD_PKG:-/nonexistent}/init/bash" \
        /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh /usr/share/modules/init/bash \
        /usr/share/lmod/lmod/init/bash; do
        type module >/dev/null 2>&1 && return 0
        # shellcheck disable=SC1090
        [ ! -r "$init" ] || . "$init"
    done
}

PAYLOAD_UMASK=$(umask)
umask 077
cd "$RUN_DIR" || {
    echo "dagster-slurm: $NODE does not see the run directory $RUN_DIR" >&2
    exit 66
}
[ "$(claimed_by)" = "$JOB" ] || exit 0

trap 'forward TERM' TERM
trap 'forward INT' INT
trap 'forward HUP' HUP
# shellcheck disable=SC2064
[ -z "$WARNING" ] || trap "forward $WARNING" "$WARNING"

: >>"stdout.$RESTART" && : >>"stderr.$RESTART" && : >>"messages.$RESTART.jsonl"
# the payload always writes to messages.jsonl; files of a restarted job do not mix
ln -sfn "messages.$RESTART.jsonl" messages.jsonl
record start "$(printf '"node":"%s","nodes":"%s","count":%d,"cluster":"%s","partition":"%s","cpus":%d,"gpus":%d,"mem":%d' \
    "$NODE" "${SLURM_JOB_NODELIST:-$NODE}" "${SLURM_JOB_NUM_NODES:-1}" "${SLURM_CLUSTER_NAME:-}" \
    "${SLURM_JOB_PARTITION:-}" "${SLURM_CPUS_ON_NODE:-0}" "${SLURM_GPUS_ON_NODE:-0}" "${SLURM_MEM_PER_NODE:-0}")"

# the meter is a small Python program; a node without Python does without it
if [ -n "${METER[0]}" ] && command -v "${METER[0]}" >/dev/null 2>&1; then
    METER=("${METER[@]}" "$RUN_DIR/record.jsonl" "$RESTART")
else
    METER=()
fi

exec 3>&1 4>&2 >>"stdout.$RESTART" 2>>"stderr.$RESTART"
[ -z "$NEEDS_MODULE" ] || provide_module
trap 'prelude_failed $? $LINENO' ERR
# @prelude@
trap - ERR
# @activate@
cd "$RUN_DIR" || exit 66
# shellcheck disable=SC1091
. ./env.sh || finish 66 environment '"env.sh cannot be read"'
# srun inside the job hands the job's environment on, whatever --export said to sbatch
export SLURM_EXPORT_ENV=ALL
export PYTHONPATH="${PATH_FIRST:+$PATH_FIRST:}${PYTHONPATH:+$PYTHONPATH:}$PATH_LAST"
export DAGSTER_SLURM_JOB_ID="$JOB" DAGSTER_SLURM_RESTART="$RESTART" DAGSTER_SLURM_RUN_DIR="$RUN_DIR"
cd work || finish 66 environment '"the working directory is gone"'
[ -z "$INTERRUPTED" ] || { cd .. && finish 143 before-payload '"stopped before the payload began"'; }

exec >&3 2>&4 3>&- 4>&-

# job control gives the payload a process group of its own, so that a signal reaches all of it and not us
umask "$PAYLOAD_UMASK"
set -m
"${METER[@]}" "${COMMAND[@]}" </dev/null >>"../stdout.$RESTART" 2>>"../stderr.$RESTART" &
PAYLOAD=$!
set +m
umask 077
cd .. || exit 66
[ -z "$INTERRUPTED" ] || forward TERM

# NFS clients hold written bytes back; a reader on another host would see them late
if [ -n "$SYNC" ]; then
    (while sleep 1; do sync "stdout.$RESTART" "stderr.$RESTART" "messages.$RESTART.jsonl"; done) >/dev/null 2>&1 &
    SYNCER=$!
fi

# a trap interrupts `wait`, which then tells the signal and not the payload's exit code: wait again
while :; do
    INTERRUPTED=
    wait "$PAYLOAD"
    status=$?
    [ "$status" -eq 127 ] && [ -n "$code" ] || code=$status
    [ -n "$INTERRUPTED" ] || break
done
# what the payload left behind in its group must not write after the sizes are taken
kill -KILL -- "-$PAYLOAD" 2>/dev/null
[ -z "$KILLER" ] || kill "$KILLER" 2>/dev/null
[ -z "$SYNC" ] || {
    kill "$SYNCER"
    sync "stdout.$RESTART" "stderr.$RESTART" "messages.$RESTART.jsonl"
} 2>/dev/null
finish "$code" payload null
