"""Loads new export files every four hours, then checks that all is well.

firstup-dde is in an environment of its own, because Airflow pins other versions of its packages:
FIRSTUP_DDE names the program. Workers have the settings in their environment:
TAP_FIRSTUP_DDE_CLIENT_ID, TAP_FIRSTUP_DDE_CLIENT_SECRET, TAP_FIRSTUP_DDE_REGION and FIRSTUP_TO.
Tried with Airflow 3.3.2.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task


@dag(
    schedule="17 */4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # one run loads whatever is new
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
)
def firstup() -> None:
    """Firstup's export files into a warehouse."""

    @task.bash
    def load() -> str:
        """Load the files that are new."""
        return '"${FIRSTUP_DDE:-firstup-dde}" load --quiet --to "$FIRSTUP_TO" --schema firstup'

    @task.bash
    def check() -> str:
        """Check settings, access and the newest files."""
        return '"${FIRSTUP_DDE:-firstup-dde}" doctor'

    load() >> check()


firstup()
