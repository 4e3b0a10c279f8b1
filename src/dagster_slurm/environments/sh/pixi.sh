# Part of job.sh, after packed.sh: what pixi-unpack wrote. Activation scripts of packages may fail and go on.
# shellcheck shell=bash disable=SC1091,SC2154
unset PYTHONHOME
. "$_ds_environment/activate.sh"
