import os

from dagster_pipes import PipesContext, open_dagster_pipes


def main() -> None:
    context = PipesContext.get()
    context.log.info(f"KEY_ENV: {os.environ['KEY_ENV']}")
    context.report_asset_materialization(
        metadata={"rows": 1000, "foo": context.extras["foo"], "cpus": os.environ.get("SLURM_CPUS_PER_TASK", "none")}
    )


if __name__ == "__main__":
    with open_dagster_pipes():
        main()
