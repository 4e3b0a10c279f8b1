# shellcheck shell=bash
# Sourced by node.sh: what is Ray's own, on each node.

start_daemons() {
    local options port
    : "${MEMORY:=}" "${STORE:=}"
    if [ -z "$MEMORY" ] && [ -z "$LOCAL" ]; then
        MEMORY=$(memory_here)
        STORE=${STORE:-$((MEMORY * 2 / 10))} MEMORY=$((MEMORY * 7 / 10))
    fi
    # the last word on an option counts
    options=(--node-ip-address="$ADDRESS" --node-name="$NODE" --num-cpus="$(cpus_here)" --num-gpus="${GPUS:-0}"
        ${MEMORY:+--memory=$((MEMORY * 1048576))} ${STORE:+--object-store-memory=$((STORE * 1048576))}
        --temp-dir="$TEMP" --dashboard-agent-listen-port=0 --disable-usage-stats)
    [[ " ${PORTS[*]}" == *" --min-worker-port"* || " ${PORTS[*]}" == *" --worker-port-list"* ]] ||
        options+=(--min-worker-port=0 --max-worker-port=0)
    if [ "$RANK" = 0 ]; then
        options+=(--head --port=0 --include-dashboard=false)
        if [ -n "$DASHBOARD" ]; then
            DASHBOARD_PORT=${DASHBOARD_PORT:-$(free_port)}
            # shellcheck disable=SC2153
            options+=(--include-dashboard=true --dashboard-host="$DASHBOARD_HOST" --dashboard-port="$DASHBOARD_PORT")
            echo "$NODE $DASHBOARD_HOST $DASHBOARD_PORT" >"$STATE/dashboard"
        fi
    fi
    for port in "${PORTS[@]}"; do
        # these are the head's alone
        if [ "$RANK" != 0 ]; then case $port in --port=* | --redis-* | --gcs-* | --ray-client-* | --dashboard-port=*) continue ;; esac fi
        options+=("$port")
    done
    marked "${PREFIX[@]}" "$PYTHON" "$HERE/ray_start.py" "$STATE/address" "${options[@]}" "${START_ARGS[@]}" --block &
    DAEMONS+=($!)
    NAMES+=("Ray on $NODE")
    [ "$RANK" = 0 ] || return 0
    until [ -s "$TEMP/ray_current_cluster" ]; do
        lives "${DAEMONS[0]}" || die "Ray's head did not start: $(last_words)"
        is_over && stop 0
        pause 0.1
    done
    echo "$(<"$TEMP/ray_current_cluster")" >>"$STATE/address"
}

# Ray names its dead processes in its last lines
last_words() { grep -E 'rror|exit code' "$STATE/ray-$RANK.log" | tail -n 1; }

keep_logs() {
    mkdir -p "$STATE/logs-$RANK"
    cp "$TEMP"/session_latest/logs/{gcs_server,raylet,dashboard,monitor}*.{out,err,log} "$STATE/logs-$RANK" 2>/dev/null
}
