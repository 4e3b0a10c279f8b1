# shellcheck shell=bash disable=SC2154
# The body of every batch script. What stands above it (rendered, quoted) sets:
#   _ds_run_dir _ds_command[] _ds_meter[] _ds_path_first _ds_path_last _ds_warning _ds_sync _ds_kill_after
#   _ds_prelude _ds_activate _ds_deactivate _ds_group _ds_data[]
# The protocol: claim the run, say "start" in record.jsonl, run the payload in a process group of its own, forward signals
# to it, say "exit". An incomplete line of the record does not count, so each is written at once.
# Three processes:
#   supervisor  gets the signals, writes the record
#   waiter      waits for the payload and tells the supervisor, through a pipe, how it ended; ignores signals
#   payload     what is the user's own: prelude, environment, command. Nothing there reaches the others: not `set -e`, not
#               `exit`, not a variable called JOB, not a trap.
# In a shell that traps signals, bash 5.2 is not to be trusted with `wait` (it loses exit codes, and signals until the payload
# ends, if one arrives in the wrong moment: 88 of 400 quick TERMs), nor with `$(...)` (its parser breaks). So the supervisor
# does without both once its traps are set.
# Works with bash 3.2 (macOS) and newer.

set +o posix

# a step of a session is told its own id; a process beside Dagster has none
_ds_job=${1:-${SLURM_JOB_ID:-$$}}
_ds_restart=${SLURM_RESTART_COUNT:-0}
_ds_node=${SLURMD_NODENAME:-$HOSTNAME}
_ds_payload=
_ds_signals=
_ds_unsent=
_ds_kill_at=
_ds_over=

# A component of a heterogeneous job, $_ds_group of them: what Slurm tells its steps of the job is partly the first
# component's (tried on 22.05), so it is replaced by what belongs to this one.
_ds_be_component() {
    _ds_job=${SLURM_JOB_ID:-$DAGSTER_SLURM_LEADER}+$_ds_group
    [ -n "$SLURM_JOB_ID" ] || return 0
    for name in MEM_PER_NODE MEM_PER_CPU MEM_PER_GPU CPUS_PER_TASK NTASKS NPROCS NTASKS_PER_NODE TASKS_PER_NODE \
        JOB_NODELIST JOB_NUM_NODES JOB_PARTITION JOB_CPUS_PER_NODE; do
        own=SLURM_${name}_HET_GROUP_$_ds_group
        if [ -n "${!own}" ]; then export "SLURM_$name=${!own}"; else unset "SLURM_$name"; fi
    done
    # how srun, from here, finds this component's nodes, and scancel its steps
    own=SLURM_JOB_ID_HET_GROUP_$_ds_group
    export DAGSTER_SLURM_HET_GROUP=$_ds_group DAGSTER_SLURM_STEP_JOB=${!own}
}

# The id of the job that won the right to run here; ours, if nobody was faster. link(2) decides, on NFS as well. A job
# that is started again by Slurm keeps its id and its claim.
_ds_claimed_by() {
    if ! [ -e claim ]; then
        printf '%s\n' "$_ds_job" >"claim.$_ds_job"
        ln "claim.$_ds_job" claim 2>/dev/null || (set -C && printf '%s\n' "$_ds_job" >claim) 2>/dev/null
    fi
    read -r winner <claim && printf '%s' "$winner"
}

# writes a line of the record: $1 event, $2 its fields
_ds_write() {
    # seconds since the epoch; bash 5 knows fractions, spelled as the locale wills
    now=${EPOCHREALTIME/,/.}
    [ -n "$now" ] || printf -v now '%(%s)T' -1 2>/dev/null || now=$(date +%s)
    printf '{"event":"%s","job":"%s","restart":%d,"time":%s,%s}\n' "$1" "$_ds_job" "$_ds_restart" "$now" "$2" >>record.jsonl
}

# ends the run: $1 exit code, $2 $3 $4 sizes of stdout, stderr and messages
_ds_finish() {
    # from here on a signal finds nothing to stop, and a result is put in place whole
    trap '' TERM INT HUP
    code=$1 signals=${_ds_signals# } signalled=false phase=payload text=
    # shellcheck disable=SC2249
    case " $signals " in *" TERM "* | *" INT "* | *" HUP "*) signalled=true ;; esac
    # a shell's way to say that a signal ended something; codes above are the payload's own (255: sys.exit(-1))
    { [ "$1" -le 128 ] || [ "$1" -gt 192 ]; } || signalled=true
    if [ "$code:$signalled" = 0:false ] && [ -e "data.$_ds_restart.sh" ]; then _ds_publish; fi
    if [ -e "early.$_ds_restart" ]; then
        { read -r phase && read -r text; } <"early.$_ds_restart"
    fi
    text=${text//\\/\\\\}
    printf -v fields '"code":%d,"signalled":%s,"signals":"%s","phase":"%s","text":"%s","sizes":{"stdout":%d,"stderr":%d,"messages":%d}' \
        "$code" "$signalled" "$signals" "$phase" "${text//\"/\\\"}" "$2" "$3" "$4"
    _ds_write exit "$fields"
    rm -f "early.$_ds_restart" "stopped.$_ds_restart"
    # a job that was signalled may be requeued and needs its variables again
    [ "$signalled" = true ] || rm -f env.sh
    [ -z "$_ds_sync" ] || sync record.jsonl 2>/dev/null
    [ ! -e "data.$_ds_restart.sh" ] || "${_ds_data[@]}" clear
    # until the waiter is gone: Slurm holds a step, of which a process is left, for a second more
    read -r -t 1 -u 9 -a said
    exit "$code"
}

# The payload ended well: its result takes the place of the one before, or the run has failed.
_ds_publish() {
    "${_ds_data[@]}" publish "$_ds_restart" "$_ds_umask" >"said.$_ds_restart" && return 0
    code=74
    { echo result && tr '\n' ' ' <"said.$_ds_restart" && echo; } >"early.$_ds_restart"
}

# Traps do as little as can be: they may run in the midst of anything.
# shellcheck disable=SC2329
_ds_forward() {
    _ds_signals="$_ds_signals $1"
    # a payload that is being started may lose a signal before its traps are reset; after that, it looks for this file
    [ "$1" = "$_ds_warning" ] || : >"stopped.$_ds_restart"
    if [ -n "$_ds_payload" ]; then kill -s "$1" -- "-$_ds_payload" 2>/dev/null; else _ds_unsent="$_ds_unsent $1"; fi
}

# --- payload and waiter

# The payload does not begin: $1 exit code, $2 phase, $3 why. The supervisor writes it down.
_ds_give_up() {
    trap - ERR EXIT
    [ ! -e "$_ds_run_dir/stopped.$_ds_restart" ] || set -- 143 before-payload "stopped before the payload began"
    printf 'dagster-slurm: %s\n' "$3" >&2
    printf '%s\n%s\n' "$2" "$(printf '%s' "$3" | tr -d '\000-\037')" >"$_ds_run_dir/early.$_ds_restart"
    exit "$1"
}

# A prelude's failing line ends the job and is named: $1 exit code, $2 how many lines it is below `eval`. A command that
# fails within a file that the prelude reads is that file's business.
# shellcheck disable=SC2329
_ds_line_failed() {
    [ "${BASH_SOURCE[1]}" = "${BASH_SOURCE[0]}" ] || return 0
    line=$(printf '%s\n' "$_ds_prelude" | sed -n "$(($2 + 1))p")
    _ds_give_up "$1" prelude "${line:-$BASH_COMMAND}"
}

# ... and one that leaves by itself (`exit`, an unset variable under `set -u`)
# shellcheck disable=SC2329
_ds_left() {
    if [ "$1" -eq 0 ]; then set -- 1; fi
    _ds_give_up "$1" prelude "it left before the payload began"
}

# `module` is a shell function that only login shells define
_ds_provide_module() {
    for _ds_init in "${MODULESHOME:-/nonexistent}/init/bash" "${LMOD_PKG:-/nonexistent}/init/bash" \
        /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh /usr/share/modules/init/bash \
        /usr/share/lmod/lmod/init/bash; do
        type module >/dev/null 2>&1 && return 0
        # shellcheck disable=SC1090
        [ ! -r "$_ds_init" ] || . "$_ds_init"
    done
}

# The folder that the payload writes into.
_ds_make_output() {
    command -v "${_ds_data[0]}" >/dev/null 2>&1 ||
        _ds_give_up 66 result "${_ds_data[0]} was not found on $_ds_node; the data folder needs it"
    "${_ds_data[@]}" begin "$_ds_restart" "$_ds_umask" >"said.$_ds_restart" ||
        _ds_give_up 66 result "$(cat "said.$_ds_restart")"
}

_ds_run() {
    trap - TERM INT HUP
    [ -z "$_ds_warning" ] || trap : "$_ds_warning"
    umask "$_ds_umask"
    [ ! -e "stopped.$_ds_restart" ] || _ds_give_up
    [ -z "${_ds_data[0]}" ] || _ds_make_output
    [ -z "$_ds_prelude" ] || _ds_provide_module
    trap '_ds_left $?' EXIT
    trap '_ds_line_failed $? $((LINENO - _ds_line))' ERR
    _ds_line=$LINENO; eval "$_ds_prelude"
    trap - ERR
    eval "$_ds_activate"
    set +eux
    trap - EXIT
    cd "$_ds_run_dir" || exit 66
    # shellcheck disable=SC1091
    . ./env.sh || _ds_give_up 66 environment "env.sh cannot be read"
    # shellcheck disable=SC1090
    [ ! -r "data.$_ds_restart.sh" ] || . "./data.$_ds_restart.sh"
    # srun inside the job hands the job's environment on, whatever --export said to sbatch
    export SLURM_EXPORT_ENV=ALL
    _ds_path=$_ds_path_first:$PYTHONPATH:$_ds_path_last
    while [ "$_ds_path" != "${_ds_path/::/:}" ]; do _ds_path=${_ds_path/::/:}; done
    _ds_path=${_ds_path#:}
    export PYTHONPATH="${_ds_path%:}"
    export DAGSTER_SLURM_JOB_ID="$_ds_job" DAGSTER_SLURM_RESTART="$_ds_restart" DAGSTER_SLURM_RUN_DIR="$_ds_run_dir"
    cd work || _ds_give_up 66 environment "the working directory is gone"
    # the meter is a small Python program; a node without Python does without it
    # of Pythons the system's comes first: what PATH has may be a shim (pyenv, asdf) that changes PATH for all that it starts
    case ${_ds_meter[0]}:$OSTYPE in python3:linux*) [ ! -x /usr/bin/python3 ] || _ds_meter[0]=/usr/bin/python3 ;; esac
    if [ -n "${_ds_meter[0]}" ] && command -v "${_ds_meter[0]}" >/dev/null 2>&1; then
        _ds_command=("${_ds_meter[@]}" "$_ds_run_dir/record.jsonl" "$_ds_restart" "${_ds_command[@]}")
    fi
    exec -- "${_ds_command[@]}"
}

_ds_wait() {
    trap '' TERM INT HUP PIPE ${_ds_warning:+"$_ds_warning"}
    exec 8>&1
    # job control gives the payload a process group of its own, so that a signal reaches all of it and not us
    set -m
    _ds_run </dev/null >>"stdout.$_ds_restart" 2>>"stderr.$_ds_restart" 8>&- &
    payload=$!
    set +m
    # a supervisor that was ended before its traps were set cannot forward anything
    echo "pid $payload" >&8 2>/dev/null || kill -KILL -- "-$payload"
    # NFS clients hold written bytes back; a reader on another host would see them late
    if [ -n "$_ds_sync" ]; then
        (while sleep 1 && kill -0 $$; do _ds_sync_files; done) >/dev/null 2>&1 8>&- &
        syncer=$!
    fi
    wait "$payload"
    code=$?
    # what the payload left behind in its group must not write after the sizes are taken
    kill -KILL -- "-$payload" 2>/dev/null
    if [ -n "$_ds_deactivate" ]; then
        # this may take longer than the supervisor waits for the end of a payload that is gone
        echo "over 0" >&8 2>/dev/null
        eval "$_ds_deactivate"
    fi
    if [ -n "$_ds_sync" ]; then
        kill "$syncer"
        _ds_sync_files
    fi 2>/dev/null
    printf 'end %d %d %d %d\n' "$code" "$(_ds_size "stdout.$_ds_restart")" "$(_ds_size "stderr.$_ds_restart")" \
        "$(_ds_size "messages.$_ds_restart.jsonl")" >&8 2>/dev/null
}

_ds_sync_files() {
    sync "stdout.$_ds_restart" "stderr.$_ds_restart" "messages.$_ds_restart.jsonl"
}

_ds_size() {
    if [ -e "$1" ]; then wc -c <"$1"; else echo 0; fi
}

# --- the supervisor

_ds_begin() {
    _ds_umask=$(umask)
    umask 077
    [ -z "$_ds_group" ] || _ds_be_component
    # where this script is a step itself: how signals reach it
    [ ! -e "$_ds_run_dir/step" ] || printf '%s\n' "${DAGSTER_SLURM_STEP_JOB:-$SLURM_JOB_ID}.$SLURM_STEP_ID" >"$_ds_run_dir/step"
    cd "$_ds_run_dir" || {
        echo "dagster-slurm: $_ds_node does not see the run directory $_ds_run_dir" >&2
        exit 66
    }
    [ "$(_ds_claimed_by)" = "$_ds_job" ] || exit 0
    # Slurm may start a job again that ended by itself; that end stands
    [ "$_ds_restart" = 0 ] || ! grep -q '"event":"exit".*"signalled":false' record.jsonl || exit 0

    : >>"stdout.$_ds_restart" && : >>"stderr.$_ds_restart" && : >>"messages.$_ds_restart.jsonl"
    # the payload always writes to messages.jsonl; files of a restarted job do not mix
    ln -sfn "messages.$_ds_restart.jsonl" messages.jsonl
}

_ds_say_start() {
    printf -v fields '"node":"%s","nodes":"%s","count":%d,"cluster":"%s","partition":"%s","cpus":%d,"gpus":%d,"mem":%d' \
        "$_ds_node" "${SLURM_JOB_NODELIST:-$_ds_node}" "${SLURM_JOB_NUM_NODES:-1}" "${SLURM_CLUSTER_NAME:-}" \
        "${SLURM_JOB_PARTITION:-}" "${SLURM_CPUS_ON_NODE:-0}" "${SLURM_GPUS_ON_NODE:-0}" "${SLURM_MEM_PER_NODE:-0}"
    _ds_write start "$fields"
}

_ds_main() {
    _ds_begin
    exec 9< <(_ds_wait)
    trap '_ds_forward TERM' TERM
    trap '_ds_forward INT' INT
    trap '_ds_forward HUP' HUP
    # shellcheck disable=SC2064
    [ -z "$_ds_warning" ] || trap "_ds_forward $_ds_warning" "$_ds_warning"
    _ds_say_start
    _ds_listen
}

# Listens to the waiter until the payload has ended. A signal that comes in a bad moment is seen within a second.
_ds_listen() {
    while :; do
        read -r -t 1 -u 9 -a said
        heard=$?
        case $heard:${said[0]} in
            0:pid)
                _ds_payload=${said[1]}
                for unsent in $_ds_unsent; do kill -s "$unsent" -- "-$_ds_payload" 2>/dev/null; done
                ;;
            0:over) _ds_payload='' _ds_over=1 ;;
            0:end) _ds_finish "${said[@]:1}" ;;
            1:*) if [ -n "$_ds_over" ]; then _ds_last_words; else _ds_look; fi ;;
            *) _ds_look ;;
        esac
        _ds_kill_in_time
        # a waiter that was killed says no more, at once (before bash 4, that looks like a second of silence)
        [ "$heard" -eq 0 ] || [ "$heard" -gt 128 ] || [ "${BASH_VERSINFO[0]}" -lt 4 ] || sleep 1
    done
}

_ds_look() {
    [ -z "$_ds_payload" ] || kill -0 "$_ds_payload" 2>/dev/null || _ds_last_words
}

# The payload ended a moment ago, or somebody killed it with the waiter.
_ds_last_words() {
    if read -r -t 1 -u 9 -a said; then _ds_finish "${said[@]:1}"; else _ds_finish 137 0 0 0; fi
}

# What Slurm does after KillWait, nobody does for a process beside Dagster.
_ds_kill_in_time() {
    case "$_ds_kill_after:$_ds_signals " in
        ?*:*" TERM "*) _ds_kill_at=${_ds_kill_at:-$((SECONDS + _ds_kill_after))} ;;
        *) return 0 ;;
    esac
    [ "$SECONDS" -le "$_ds_kill_at" ] || kill -KILL -- "-$_ds_payload" 2>/dev/null
}

_ds_main
