# Part of job.sh, after a line that sets ENVIRONMENT: is the environment there and whole, as this node sees it? File
# systems that purge old files leave holes. Counting names costs no more than reading the folders.
# shellcheck shell=bash disable=SC2154
environment_damaged() {
    rm -f "$ENVIRONMENT/.dagster-slurm/ready"
    environment_fails environment-damaged "$1"
}
environment_fails() {
    printf 'dagster-slurm: %s\n' "$2" >&2
    text=${2//\\/\\\\}
    finish 66 "$1" "\"${text//\"/\\\"}\""
}
environment_files() {
    (cd "$ENVIRONMENT" && find . -name __pycache__ -prune -o -name .dagster-slurm -prune -o ! -type d -print)
}
[ -r "$ENVIRONMENT/.dagster-slurm/ready" ] && [ -r "$ENVIRONMENT/.dagster-slurm/files" ] ||
    environment_damaged "the environment $ENVIRONMENT is not whole any more on $NODE: its list of files is gone"
if [ "$(environment_files | wc -l)" -lt "$(wc -l <"$ENVIRONMENT/.dagster-slurm/files")" ]; then
    while read -r file; do
        [ -e "$ENVIRONMENT/$file" ] || [ -L "$ENVIRONMENT/$file" ] ||
            environment_damaged "files of the environment $ENVIRONMENT are gone, perhaps purged, the first being $file"
    done <"$ENVIRONMENT/.dagster-slurm/files"
fi
