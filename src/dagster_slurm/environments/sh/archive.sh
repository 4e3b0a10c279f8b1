# Part of job.sh, after lines that set _ds_shared (a folder with an environment that is one file), _ds_storage (the user's choice
# of the nodes' own storage, or nothing) and _ds_python: unpacks it on the job's nodes. Descriptor 7 stays open in
# the payload: its lock says that the environment is in use here.
# shellcheck shell=bash disable=SC2154
set +eux
_ds_unpack() {
    "$_ds_python" -E -S -c 'import sys; sys.path.insert(0, sys.argv.pop(1)); from dagster_slurm_remote.node_local import main; sys.exit(main(sys.argv[1:]))' \
        "$_ds_shared/programs" "$@"
}
# $1 exit code, $2 what it said
_ds_not_unpacked() {
    case $1 in
        4)
            rm -f "$_ds_shared/.dagster-slurm/ready" 2>/dev/null || _ds_give_up 66 environment \
                "$2; only $(stat -c %U "$_ds_shared") can have it built anew: ask for that, or set env_base to a folder of your own"
            _ds_give_up 66 environment-damaged "$2"
            ;;
        *) _ds_give_up 66 environment "$_ds_node: the environment cannot be unpacked: $2" ;;
    esac
}
# on the further nodes, a step keeps it there until the job ends
_ds_unpack_elsewhere() {
    _ds_state=$_ds_run_dir/unpacked.$_ds_restart
    { mkdir -p "$_ds_state" && : >"$_ds_state/stop"; } || _ds_give_up 66 environment "$_ds_state cannot be made"
    set -m
    (
        unset SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU SLURM_CPUS_PER_TASK SLURM_TRES_PER_TASK \
            SLURM_NTASKS_PER_NODE SLURM_NTASKS SLURM_NPROCS
        export _ds_python _ds_shared SLURM_EXPORT_ENV=ALL
        export -f _ds_unpack
        exec srun --overlap --nodes="$_ds_nodes" --ntasks="$_ds_nodes" --ntasks-per-node=1 --cpus-per-task=1 --kill-on-bad-exit=0 \
            bash -c '_ds_unpack hold "$@"' bash "$_ds_shared" "$_ds_environment" "$_ds_state"
    ) </dev/null >/dev/null 2>"$_ds_state/srun.log" 7>&- &
    _ds_srun=$!
    set +m
    until [ "$(cat "$_ds_state"/*.[0-9]* 2>/dev/null | grep -c .)" -ge "$_ds_nodes" ]; do
        kill -0 "$_ds_srun" 2>/dev/null || break
        sleep 0.1
    done
    _ds_failed=$(cd "$_ds_state" && grep -vx ok -- *.[0-9]* 2>/dev/null | head -n 1)
    [ -z "$_ds_failed" ] || _ds_not_unpacked 5 "$_ds_failed"
    kill -0 "$_ds_srun" 2>/dev/null || _ds_not_unpacked 5 "$(tail -n 1 "$_ds_state/srun.log")"
    printf '%s\n' "$_ds_srun" >"$_ds_state/step"
}

command -v "$_ds_python" >/dev/null 2>&1 || _ds_give_up 66 environment "$_ds_node has no $_ds_python, which unpacks the environment"
[ -r "$_ds_shared/.dagster-slurm/ready" ] && [ -d "$_ds_shared/programs" ] ||
    _ds_not_unpacked 4 "the environment $_ds_shared is not whole any more: its marks are gone, perhaps purged"
_ds_environment=$(_ds_unpack place "$_ds_shared" "$_ds_storage" 2>&1) || _ds_not_unpacked $? "$_ds_environment"
printf '%s\n' "$_ds_environment" >"$_ds_run_dir/unpacked"
_ds_nodes=${SLURM_STEP_NUM_NODES:-${SLURM_JOB_NUM_NODES:-1}}
while :; do
    exec 7>>"$_ds_environment.lock" || _ds_not_unpacked 5 "$_ds_environment.lock cannot be made"
    _ds_said=$(_ds_unpack enter "$_ds_shared" "$_ds_environment" 7 2>&1)
    _ds_code=$?
    [ "$_ds_code" -eq 6 ] || break
done
[ "$_ds_code" -eq 0 ] || _ds_not_unpacked "$_ds_code" "$_ds_said"
[ "$_ds_nodes" -le 1 ] || _ds_unpack_elsewhere
