#!/bin/bash
#SBATCH -p compute -N2 --ntasks-per-node=1 --cpus-per-task=2 --mem=2500 -o log
# By hand: Ray on two nodes, as short as it can be written. PATH leads to Ray. Prints the seconds until both nodes are up.
if [ -z "$RUN" ]; then
    begun=$(date +%s.%N)
    export RUN=$PWD/bare-$SLURM_JOB_ID RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/bare-$SLURM_JOB_ID/token
    mkdir -m 700 "$RUN" && echo "benchmark-$RANDOM-$RANDOM-$RANDOM" >"$RAY_AUTH_TOKEN_PATH"
    srun --ntasks-per-node=1 --overlap -o "$RUN/%t.log" bash "$PWD/job.sh" &
    until [ -s "$RUN/address" ]; do sleep 0.1; done
    python - "$(<"$RUN/address")" <<'PYTHON'
import sys, time
from ray._raylet import GcsClientOptions
from ray._private.state import GlobalState
state = GlobalState()
state._initialize_global_state(GcsClientOptions.create(sys.argv[1], None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False))
while sum(bool(node["Alive"]) for node in state.node_table()) < 2:
    time.sleep(0.1)
PYTHON
    awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { print b - a }' >"took.$SLURM_JOB_ID"
    touch "$RUN/stop"
    wait
    : >"done.$SLURM_JOB_ID"
    exit
fi
temp=$(mktemp -d /tmp/bare.XXXXXX)
common=(--num-cpus=2 --num-gpus=0 --memory=1000000000 --object-store-memory=300000000 --temp-dir="$temp"
    --disable-usage-stats --dashboard-agent-listen-port=0 --block)
if [ "$SLURM_PROCID" = 0 ]; then
    ray start --head --port=0 --include-dashboard=false "${common[@]}" &
    until [ -s "$temp/ray_current_cluster" ]; do sleep 0.1; done
    cp "$temp/ray_current_cluster" "$RUN/.address" && mv "$RUN/.address" "$RUN/address"
else
    until [ -s "$RUN/address" ]; do sleep 0.1; done
    ray start --address="$(<"$RUN/address")" "${common[@]}" &
fi
until [ -e "$RUN/stop" ]; do sleep 0.2; done
kill $!
wait
rm -rf "$temp"
