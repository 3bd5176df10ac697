"""The tables of Firstup's export files as an asset, loaded every four hours.

Settings are in the environment: TAP_FIRSTUP_DDE_CLIENT_ID, TAP_FIRSTUP_DDE_CLIENT_SECRET,
TAP_FIRSTUP_DDE_REGION, FIRSTUP_TO, and FIRSTUP_DDE if the program is in an environment of its own.
Tried with Dagster 1.13.28.
"""

import json
import os
import subprocess

import dagster as dg


@dg.asset(group_name="firstup", kinds={"firstup"})
def firstup_tables(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Campaigns, users and activities, as `firstup-dde load` keeps them."""
    command = [os.environ.get("FIRSTUP_DDE", "firstup-dde"), "load", "--quiet", "--output", "json"]
    done = subprocess.run(
        [*command, "--to", os.environ["FIRSTUP_TO"], "--schema", "firstup"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise dg.Failure(done.stderr.strip())
    loaded = json.loads(done.stdout)
    context.log.info("%s files, %s rows", loaded["files"], loaded["rows"])
    return dg.MaterializeResult(metadata={"files": loaded["files"], "rows": loaded["rows"]})


defs = dg.Definitions(
    assets=[firstup_tables],
    schedules=[
        dg.ScheduleDefinition(
            name="firstup_every_4_hours", cron_schedule="17 */4 * * *", target=[firstup_tables]
        )
    ],
)
