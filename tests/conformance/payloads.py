"""Lines for bash that tests have in common."""

#: saves and ends well when it is told to stop
TRAPS = "trap 'echo saved; exit 0' TERM; touch begun; sleep 300 & wait"

#: will not stop
DEAF = "trap '' TERM; touch begun; until [ -e go ]; do sleep 0.1; done"

#: the first start ends well when it is told to stop, the second by itself; both say which they are
AGAIN = "echo $DAGSTER_SLURM_RESTART >>$MESSAGES; [ $DAGSTER_SLURM_RESTART = 1 ] || { %s; }" % TRAPS  # noqa: UP031
