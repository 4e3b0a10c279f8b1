"""A count by Spark."""

from dagster_pipes import open_dagster_pipes
from pyspark.sql import SparkSession

with open_dagster_pipes() as pipes:
    spark = SparkSession.builder.getOrCreate()
    pipes.report_asset_materialization(metadata={"rows": spark.range(1000).filter("id % 2 = 0").count()})
    spark.stop()
