# shellcheck shell=bash
# Sourced by node.sh: what is Spark's own, on each node: the first has the master, and each a worker.

start_daemons() {
    local host=$ADDRESS
    [[ "$host" != *:* ]] || host="[$host]"
    # daemons do little but start: this halves the CPU time that it takes
    local light='-XX:+UseSerialGC -XX:TieredStopAtLevel=1'
    export SPARK_LAUNCHER_OPTS="-XX:-UsePerfData ${SPARK_LAUNCHER_OPTS:-$light}"
    export SPARK_NO_DAEMONIZE=1 SPARK_DAEMON_MEMORY=256m SPARK_LOCAL_DIRS="$TEMP" SPARK_WORKER_DIR="$STATE/work-$RANK" \
        SPARK_DAEMON_JAVA_OPTS="-XX:-UsePerfData -Djava.io.tmpdir=$TEMP ${SPARK_DAEMON_JAVA_OPTS:-$light}"
    if [ "$RANK" = 0 ]; then start_master; fi
    head_address || stop 0
    SPARK_LOCAL_IP=127.0.0.1 marked "${PREFIX[@]}" "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker --host "$host" --port 0 \
        --webui-port 0 --cores "$(cpus_here)" --memory "${WORKER_MEMORY}m" --work-dir "$STATE/work-$RANK" "$HEAD" \
        >"$STATE/worker-$RANK.log" 2>&1 &
    DAEMONS+=($!)
    NAMES+=("Spark's worker on $NODE")
    tell_registered "$!" &
}

# Its own log says when the master has taken the worker ($1); the driver's node hears it by a file that was there before
tell_registered() {
    until grep -qs 'Successfully registered with master' "$STATE/worker-$RANK.log"; do
        lives "$1" || return
        sleep 0.1
    done
    echo "$NODE $(cpus_here) $WORKER_MEMORY" >>"$STATE/registered.$RANK"
}

# port 0 everywhere, so that clusters can share a host; its web page answers on loopback alone
start_master() {
    local url=''
    echo "$TEMP" >"$STATE/temp"
    SPARK_LOCAL_IP=127.0.0.1 marked "${PREFIX[@]}" "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master --host "$host" --port 0 \
        --webui-port 0 >"$STATE/master.log" 2>&1 &
    DAEMONS+=($!)
    NAMES+=("Spark's master on $NODE")
    until [ -n "$url" ]; do
        lives "${DAEMONS[0]}" || die "Spark's master did not start: $(tail -n 1 "$STATE/master.log")"
        if is_over; then stop 0; fi
        pause 0.1
        url=$(sed -n 's/.*Starting Spark master at \(spark:[^ ]*\).*/\1/p' "$STATE/master.log")
    done
    echo "$url" >>"$STATE/address"
    # workers need not wait for it
    tell_page "${DAEMONS[0]}" &
}

tell_page() {
    local web=''
    until [ -n "$web" ]; do
        lives "$1" || return
        sleep 0.1
        # its host is what the machine believes to be its name
        web=$(sed -n 's/.*MasterWebUI.* started at http:.*:\([0-9]*\)$/\1/p' "$STATE/master.log")
    done
    echo "$NODE 127.0.0.1 $web" >"$STATE/dashboard"
}

keep_logs() {
    local log
    for log in "$STATE/master.log" "$STATE/worker-$RANK.log"; do
        if [ -s "$log" ]; then tail -n 8 "$log"; fi
    done
}
