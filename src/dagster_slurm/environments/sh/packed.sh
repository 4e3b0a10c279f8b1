# Part of job.sh, after a line that sets _ds_environment: is the environment there and whole, as this node sees it? File
# systems that purge old files leave holes. Counting names costs no more than reading the folders.
# shellcheck shell=bash disable=SC2154
set +eux
_ds_environment_damaged() {
    rm -f "$_ds_environment/.dagster-slurm/ready" 2>/dev/null || _ds_give_up 66 environment \
        "$1; only $(stat -c %U "$_ds_environment") can have it built anew: ask for that, or set env_base to a folder of your own"
    _ds_give_up 66 environment-damaged "$1"
}
_ds_environment_files() {
    (cd "$_ds_environment" && find . -name __pycache__ -prune -o -name .dagster-slurm -prune -o ! -type d -print)
}
[ -r "$_ds_environment/.dagster-slurm/ready" ] && [ -r "$_ds_environment/.dagster-slurm/files" ] ||
    _ds_environment_damaged "the environment $_ds_environment is not whole any more on $_ds_node: its list of files is gone"
if [ "$(_ds_environment_files | wc -l)" -lt "$(wc -l <"$_ds_environment/.dagster-slurm/files")" ]; then
    while read -r _ds_file; do
        [ -e "$_ds_environment/$_ds_file" ] || [ -L "$_ds_environment/$_ds_file" ] ||
            _ds_environment_damaged "files of the environment $_ds_environment are gone, perhaps purged, first $_ds_file"
    done <"$_ds_environment/.dagster-slurm/files"
fi
