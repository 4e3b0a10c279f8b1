# shellcheck shell=bash
# Sourced by cluster.sh: what is Spark's own, on the first node beside the payload.

prepare() {
    if [ -z "$SPARK_HOME_ASKED" ]; then
        SPARK_HOME=$(in_environment "$PYTHON" -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("pyspark").origin))' 2>/dev/null) || {
            fault "pyspark is not in the environment of the payload: $(python_here) on $(first_node) finds no package pyspark; add it to the project's packages, or name an environment that has it"
            exit 66
        }
    else
        SPARK_HOME=$SPARK_HOME_ASKED
    fi
    in_environment test -x "$SPARK_HOME/bin/spark-class" || {
        fault "there is no Spark in $SPARK_HOME on $(first_node): bin/spark-class is missing"
        exit 66
    }
    # shellcheck disable=SC2016
    in_environment sh -c 'command -v "${JAVA_HOME:+$JAVA_HOME/bin/}java"' >/dev/null 2>&1 || {
        fault "there is no Java on $(first_node), which Spark needs: load its module in prelude, or set JAVA_HOME"
        exit 66
    }
    VERSION=$(version_of_spark)
    # executors find the environment's Python, and everything in one conf folder
    export SPARK_HOME PATH="$SPARK_HOME/bin:$PATH" SPARK_CONF_DIR="$STATE/conf"
    # shellcheck disable=SC2016
    PYSPARK_PYTHON=$(in_environment sh -c 'command -v "$1"' sh "$PYTHON") && export PYSPARK_PYTHON
    [ -z "$CONNECTION" ] || take_connection
    share_memory
    configure
}

# that of its jars: spark_home need not be the environment's pyspark
version_of_spark() {
    # shellcheck disable=SC2016
    in_environment sh -c 'cd "$1/jars" && for jar in spark-core_*.jar; do jar=${jar%.jar}; echo "${jar##*-}"; done' sh "$SPARK_HOME" 2>/dev/null
}

# what a driver needs to know of a cluster that another keeps
publish() {
    local master
    read -r master <"$STATE/address"
    printf 'EXISTING=%q\nFACTS=%q\nTHEIR_CONF=%q\nTHEIR_TEMP=%q\n' "$master" "$(<"$STATE/ready.json")" \
        "$STATE/conf/spark-defaults.conf" "$(<"$STATE/temp")"
}

# MiB: what the request does not tell is taken from what goes with the CPUs
share_memory() {
    # beside a cluster that another keeps, the driver has all that was asked for
    if [ -n "$CONNECTION" ]; then
        DRIVER_MEMORY=${DRIVER_MEMORY:-$((${MEMORY:-2048} / 2))}
        return
    fi
    MEMORY=${MEMORY:-$(memory_here)}
    if [ -n "$LOCAL" ] && [ "$MEMORY" -gt 4096 ]; then MEMORY=4096; fi
    WORKER_MEMORY=$((MEMORY * 7 / 10))
    EXECUTOR_MEMORY=${EXECUTOR_MEMORY:-$((MEMORY / 2))}
    if [ -z "$DRIVER_MEMORY" ]; then
        DRIVER_MEMORY=$((MEMORY / 10))
        [ "$DRIVER_MEMORY" -ge 512 ] || DRIVER_MEMORY=512
        [ "$DRIVER_MEMORY" -le 4096 ] || DRIVER_MEMORY=4096
    fi
    export WORKER_MEMORY
}

# for master, workers and drivers alike; the secret stands nowhere else
configure() {
    local line cores
    mkdir -p "$STATE/conf"
    cores=$EXECUTOR_CORES
    {
        if [ -n "$CONNECTION" ]; then
            # the last word on a setting counts
            cat "$THEIR_CONF"
            # executors are started by a worker, which knows another payload's folders, or none
            printf 'spark.executorEnv.PYTHONPATH %s\n' "$PYTHONPATH"
            cores=${cores:-$(sed -n 's/^spark.executor.cores //p' "$THEIR_CONF" | tail -n 1)}
        elif [ -z "$EXISTING" ]; then
            printf 'spark.authenticate true\nspark.authenticate.secret %s\n' "$(head -c 24 /dev/urandom | base64 | tr -d '+/=\n')"
            printf 'spark.executor.extraJavaOptions -XX:-UsePerfData\nspark.driver.extraJavaOptions -XX:-UsePerfData\n'
            cores=${cores:-$(cpus_here)}
        fi
        printf 'spark.driver.memory %sm\nspark.ui.enabled false\nspark.ui.killEnabled false\nspark.port.maxRetries 64\n' "$DRIVER_MEMORY"
        [ -z "$EXECUTOR_MEMORY" ] || printf 'spark.executor.memory %sm\n' "$EXECUTOR_MEMORY"
        [ -z "$cores" ] || printf 'spark.executor.cores %s\n' "$cores"
        [ -z "$EXECUTORS" ] || [ -z "$cores" ] || printf 'spark.cores.max %s\n' "$((EXECUTORS * cores))"
        for line in "${CONF[@]}"; do printf '%s\n' "$line"; done
    } >"$STATE/conf/spark-defaults.conf"
}

ready() {
    exec "$TOOL" -I -S "$HERE/spark_ready.py" --state "$STATE" --nodes "$NODES" --names "$(names_of_nodes)" \
        --timeout "$TIMEOUT" --existing "$EXISTING" --begun "$BEGUN" --version "$VERSION" 2>"$STATE/ready.log"
}

enter() {
    local ip host
    if [ -n "$EXISTING" ]; then SPARK_MASTER=$EXISTING; else read -r SPARK_MASTER <"$STATE/address"; fi
    # without it a driver would run alone, as local[*], and nobody would notice
    printf 'spark.master %s\n' "$SPARK_MASTER" >>"$STATE/conf/spark-defaults.conf"
    export SPARK_MASTER MASTER="$SPARK_MASTER"
    # on the node's own disk, in a folder that goes with the cluster; else in one that goes with the run
    read -r SPARK_LOCAL_DIRS 2>/dev/null <"$STATE/temp" || SPARK_LOCAL_DIRS=$THEIR_TEMP
    [ -d "$SPARK_LOCAL_DIRS" ] || { SPARK_LOCAL_DIRS=$STATE/scratch && mkdir -p "$SPARK_LOCAL_DIRS"; }
    export SPARK_LOCAL_DIRS
    ip=$(own_address)
    # a cluster that somebody else keeps may be anywhere: Spark itself finds out
    if [ -z "$ip" ] && { [ -z "$EXISTING" ] || [ -n "$CONNECTION$INTERFACE" ]; }; then
        host=${SPARK_MASTER#spark://} && host=${host%:*} && host=${host#[}
        ip=$("$TOOL" -I -S "$HERE/node_address.py" --address --interface "$INTERFACE" --toward "${host%]}")
    fi
    [ -z "$ip" ] || export SPARK_LOCAL_IP="$ip"
}

# Spark's master itself ends the executors of a driver that is gone
tidy() { :; }
