# shellcheck shell=bash
# Sourced by node.sh: what is Ray's own, on each node.

start_daemons() {
    local common client=() dashboard=(--include-dashboard=false)
    : "${MEMORY:=}" "${STORE:=}"
    if [ -z "$MEMORY" ] && [ -z "$LOCAL" ]; then
        MEMORY=$(memory_here)
        STORE=${STORE:-$((MEMORY * 2 / 10))} MEMORY=$((MEMORY * 7 / 10))
    fi
    common=(--node-ip-address="$ADDRESS" --node-name="$NODE" --num-cpus="$(cpus_here)" --num-gpus="${GPUS:-0}"
        ${MEMORY:+--memory=$((MEMORY * 1048576))} ${STORE:+--object-store-memory=$((STORE * 1048576))}
        --dashboard-agent-listen-port=0 --disable-usage-stats "${START_ARGS[@]}" --block)
    [[ " ${PORTS[*]}" == *" --min-worker-port"* || " ${PORTS[*]}" == *" --worker-port-list"* ]] ||
        common+=(--min-worker-port=0 --max-worker-port=0)
    if [ "$RANK" = 0 ]; then
        [[ " ${PORTS[*]}" == *" --port="* ]] || PORTS+=(--port=0)
        # Ray would take 10001 where its client is installed
        if [[ " ${PORTS[*]}" != *" --ray-client-server-port"* ]] && in_environment "$PYTHON" -c 'import grpc' 2>/dev/null; then
            client=(--ray-client-server-port="$(free_port)")
        fi
        if [ -n "$DASHBOARD" ]; then
            DASHBOARD_PORT=${DASHBOARD_PORT:-$(free_port)}
            # shellcheck disable=SC2153
            dashboard=(--include-dashboard=true --dashboard-host="$DASHBOARD_HOST" --dashboard-port="$DASHBOARD_PORT")
            echo "$NODE $DASHBOARD_HOST $DASHBOARD_PORT" >"$STATE/dashboard"
        fi
        marked "${PREFIX[@]}" "$PYTHON" -m ray.scripts.scripts start --head "${PORTS[@]}" "${client[@]}" "${dashboard[@]}" --temp-dir="$TEMP" "${common[@]}" &
    else
        head_address || stop 0
        marked "${PREFIX[@]}" "$PYTHON" -m ray.scripts.scripts start --address="$HEAD" --temp-dir="$TEMP" "${common[@]}" &
    fi
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
