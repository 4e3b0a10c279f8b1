# Part of job.sh, after packed.sh: the Python that the environment was built with must be on this node.
# shellcheck shell=bash disable=SC2154
[ -x "$ENVIRONMENT/bin/python" ] ||
    environment_fails environment "$NODE has no $(readlink "$ENVIRONMENT/bin/python"), which the environment was built with"
unset PYTHONHOME
export VIRTUAL_ENV="$ENVIRONMENT" PATH="$ENVIRONMENT/bin:$PATH"
