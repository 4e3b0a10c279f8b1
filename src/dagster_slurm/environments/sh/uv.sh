# Part of job.sh, after packed.sh: the Python that the environment was built with must be on this node.
# shellcheck shell=bash disable=SC2154
[ -x "$_ds_environment/bin/python" ] ||
    _ds_give_up 66 environment "$_ds_node has no $(readlink "$_ds_environment/bin/python"), which the environment was built with"
unset PYTHONHOME
export VIRTUAL_ENV="$_ds_environment" PATH="$_ds_environment/bin:$PATH"
