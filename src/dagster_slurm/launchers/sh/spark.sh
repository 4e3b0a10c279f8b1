# shellcheck shell=bash
# Sourced by cluster.sh: what is Spark's own, on the first node beside the payload.

prepare() {
    command -v "$PYTHON" >/dev/null 2>&1 || PYTHON=python3
    if [ -z "$SPARK_HOME_ASKED" ]; then
        SPARK_HOME=$("$PYTHON" -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("pyspark").origin))' 2>/dev/null) || {
            fault "pyspark is not in the environment of the payload: $(command -v "$PYTHON" || echo "$PYTHON") on $(first_node) finds no package pyspark"
            exit 66
        }
    else
        SPARK_HOME=$SPARK_HOME_ASKED
    fi
    [ -x "$SPARK_HOME/bin/spark-class" ] || {
        fault "there is no Spark in $SPARK_HOME on $(first_node): bin/spark-class is missing"
        exit 66
    }
    command -v "${JAVA_HOME:+$JAVA_HOME/bin/}java" >/dev/null 2>&1 || {
        fault "there is no Java on $(first_node), which Spark needs: load its module in prelude, or set JAVA_HOME"
        exit 66
    }
    VERSION=$("$PYTHON" -c 'import importlib.metadata as m; print(m.version("pyspark"))' 2>/dev/null)
    # executors find the environment's Python, and everything in one conf folder
    export SPARK_HOME PATH="$SPARK_HOME/bin:$PATH" SPARK_CONF_DIR="$STATE/conf"
    PYSPARK_PYTHON=$(command -v "$PYTHON") && export PYSPARK_PYTHON
    share_memory
    configure
}

# MiB: what the request does not tell is taken from what goes with the CPUs
share_memory() {
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
    local line
    mkdir -p "$STATE/conf"
    {
        if [ -z "$EXISTING" ]; then
            printf 'spark.authenticate true\nspark.authenticate.secret %s\n' "$(head -c 24 /dev/urandom | base64 | tr -d '+/=\n')"
            printf 'spark.executor.memory %sm\nspark.executor.cores %s\n' "$EXECUTOR_MEMORY" "${EXECUTOR_CORES:-$(cpus_here)}"
            printf 'spark.executor.extraJavaOptions -XX:-UsePerfData\nspark.driver.extraJavaOptions -XX:-UsePerfData\n'
            [ -z "$EXECUTORS" ] || printf 'spark.cores.max %s\n' "$((EXECUTORS * ${EXECUTOR_CORES:-$(cpus_here)}))"
        fi
        printf 'spark.driver.memory %sm\nspark.ui.enabled false\nspark.ui.killEnabled false\nspark.port.maxRetries 64\n' "$DRIVER_MEMORY"
        for line in "${CONF[@]}"; do printf '%s\n' "$line"; done
    } >"$STATE/conf/spark-defaults.conf"
}

ready() {
    local names
    names=$(scontrol show hostnames "${SLURM_JOB_NODELIST:-}" 2>/dev/null | tr '\n' ',')
    [ -z "$LOCAL" ] || names=$HOSTNAME
    exec "$PYTHON" -S "$HERE/spark_ready.py" --state "$STATE" --nodes "$NODES" --names "$names" --timeout "$TIMEOUT" \
        --existing "$EXISTING" --begun "$BEGUN" --version "$VERSION" 2>"$STATE/ready.log"
}

enter() {
    local web temp
    if [ -n "$EXISTING" ]; then SPARK_MASTER=$EXISTING; else read -r SPARK_MASTER web <"$STATE/address"; fi
    : "$web"
    # without it a driver would run alone, as local[*], and nobody would notice
    printf 'spark.master %s\n' "$SPARK_MASTER" >>"$STATE/conf/spark-defaults.conf"
    export SPARK_MASTER MASTER="$SPARK_MASTER"
    if [ -z "$EXISTING" ]; then
        # goes with the first node's folder
        read -r temp <"$STATE/temp" && export SPARK_LOCAL_DIRS="$temp"
        SPARK_LOCAL_IP=${SPARK_MASTER#spark://} && SPARK_LOCAL_IP=${SPARK_LOCAL_IP%:*}
        SPARK_LOCAL_IP=${SPARK_LOCAL_IP#[} && export SPARK_LOCAL_IP="${SPARK_LOCAL_IP%]}"
    fi
}
