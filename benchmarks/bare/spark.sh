#!/bin/bash
#SBATCH -p compute -N2 --ntasks-per-node=1 --cpus-per-task=2 --mem=2500 -o log
# By hand: Spark on two nodes, as short as it can be written. PATH leads to pyspark. Prints the seconds until both workers are up.
if [ -z "$RUN" ]; then
    begun=$(date +%s.%N)
    export RUN=$PWD/bare-$SLURM_JOB_ID SPARK_NO_DAEMONIZE=1 SPARK_DAEMON_MEMORY=256m
    SPARK_HOME=$(python -c 'import pyspark, os; print(os.path.dirname(pyspark.__file__))') && export SPARK_HOME
    mkdir -m 700 "$RUN" && mkdir "$RUN/conf" && export SPARK_CONF_DIR=$RUN/conf
    printf 'spark.authenticate true\nspark.authenticate.secret %s\n' "$RANDOM$RANDOM" >"$RUN/conf/spark-defaults.conf"
    srun --ntasks-per-node=1 --overlap -o "$RUN/%t.log" bash "$PWD/job.sh" &
    until [ "$(cat "$RUN"/[01].log "$RUN"/worker.* 2>/dev/null | grep -c 'Successfully registered with master')" = 2 ]; do sleep 0.1; done
    awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { print b - a }' >"took.$SLURM_JOB_ID"
    touch "$RUN/stop"
    wait
    : >"done.$SLURM_JOB_ID"
    exit
fi
class=$SPARK_HOME/bin/spark-class
if [ "$SLURM_PROCID" = 0 ]; then
    "$class" org.apache.spark.deploy.master.Master --host 127.0.0.1 --port 0 --webui-port 0 >"$RUN/master" 2>&1 &
    until grep -q 'Starting Spark master at' "$RUN/master"; do sleep 0.1; done
    sed -n 's/.*Starting Spark master at \(spark:[^ ]*\).*/\1/p' "$RUN/master" >"$RUN/.url" && mv "$RUN/.url" "$RUN/url"
fi
until [ -s "$RUN/url" ]; do sleep 0.1; done
"$class" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --port 0 --webui-port 0 --cores 2 --memory 1500m \
    --work-dir "$RUN/work" "$(<"$RUN/url")" >"$RUN/worker.$SLURM_PROCID" 2>&1 &
until [ -e "$RUN/stop" ]; do sleep 0.2; done
# shellcheck disable=SC2046
kill $(jobs -p)
wait
