# shellcheck shell=bash
# Sourced by cluster.sh: what is Ray's own, on the first node beside the payload.

prepare() {
    in_environment "$PYTHON" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("ray") is None)' 2>/dev/null || {
        fault "Ray is not in the environment of the payload: $(python_here) on $(first_node) finds no package ray; add it to the project's packages, or name an environment that has it"
        exit 66
    }
    # never a driver's idea of its own: a token file in the user's home changes what Ray does
    export RAY_USAGE_STATS_ENABLED=0
    if [ -n "$CONNECTION" ]; then
        take_connection
    elif [ -z "$EXISTING" ]; then
        head -c 24 /dev/urandom | base64 | tr -d '+/=\n' >"$STATE/secret"
        export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$STATE/secret"
    fi
}

# what a driver needs to know of a cluster that another keeps
publish() {
    local address
    read -r address <"$STATE/address"
    printf 'EXISTING=%q\nFACTS=%q\n' "$address" "$(<"$STATE/ready.json")"
    printf 'export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=%q\n' "$STATE/secret"
}

ready() {
    exec "${PREFIX[@]}" "$PYTHON" "$HERE/ray_ready.py" --state "$STATE" --nodes "$NODES" --names "$(names_of_nodes)" \
        --timeout "$TIMEOUT" --existing "$EXISTING" --begun "$BEGUN" 2>"$STATE/ready.log"
}

enter() {
    if [ -n "$EXISTING" ]; then RAY_ADDRESS=$EXISTING; else read -r RAY_ADDRESS <"$STATE/address"; fi
    export RAY_ADDRESS
    printf 'dagster-slurm: Ray is ready at %s\n' "$RAY_ADDRESS" >&2
    local node host port
    if read -r node host port 2>/dev/null <"$STATE/dashboard"; then
        printf 'dagster-slurm: its dashboard is http://%s:%s on %s\n' "$host" "$port" "$node" >&2
    fi
}

# one driver more in a kept cluster, which removes what others left behind when they ended
tidy() {
    local address
    read -r address <"$STATE/address"
    exec "${PREFIX[@]}" "$PYTHON" "$HERE/ray_leftovers.py" "$address" >"$STATE/leftovers.log" 2>&1
}
