# shellcheck shell=bash
# Sourced by the launchers' scripts: what they say in the run's record, which becomes error text and metadata.
# Wants DAGSTER_SLURM_RUN_DIR and DAGSTER_SLURM_RESTART, which the job script exports.

# seconds since the epoch, whole; bash 3.2 knows no other way without a process
seconds() { printf '%(%s)T' -1 2>/dev/null || date +%s; }

# text as a JSON string: control characters go, quotes and backslashes are escaped
json() {
    local text
    text=$(printf '%s' "$1" | tr '\000-\037' ' ')
    text=${text//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

note() { printf '{"event":"note","restart":%d,%s}\n' "${DAGSTER_SLURM_RESTART:-0}" "$1" >>"$DAGSTER_SLURM_RUN_DIR/record.jsonl"; }

# what went wrong, in one sentence; the first one counts
fault() {
    note "\"fault\":$(json "$1")"
    printf 'dagster-slurm: %s\n' "$1" >&2
}

# the end of a log, for people: $1 its path
show_log() {
    [ -s "$1" ] || return 0
    printf 'dagster-slurm: the last lines of %s:\n' "$1" >&2
    tail -n "${2:-15}" "$1" >&2
}

# "exit code 5", or the signal's name: $1 a shell's status
how() {
    if [ "$1" -gt 128 ] && [ "$1" -le 192 ]; then
        printf 'was killed by SIG%s' "$(kill -l "$(($1 - 128))" 2>/dev/null || echo "$(($1 - 128))")"
    else
        printf 'ended with exit code %d' "$1"
    fi
}
