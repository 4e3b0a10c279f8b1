# Part of job.sh, run by the waiter when the payload has ended: the environment goes from the nodes, unless other jobs use it.
# shellcheck shell=bash disable=SC2154
if read -r _ds_environment 2>/dev/null <"$_ds_run_dir/unpacked"; then
    if read -r _ds_srun 2>/dev/null <"$_ds_run_dir/unpacked.$_ds_restart/step"; then
        echo stop >>"$_ds_run_dir/unpacked.$_ds_restart/stop"
        for _ds_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
            kill -0 "$_ds_srun" 2>/dev/null || break
            sleep 0.2
        done
    fi
    "$_ds_python" -E -S -c 'import sys; sys.path.insert(0, sys.argv.pop(1)); from dagster_slurm_remote.node_local import main; sys.exit(main(sys.argv[1:]))' \
        "$_ds_shared/programs" leave "$_ds_environment" 2>/dev/null
fi
