"""The taps that the demo can show, one entry each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Tap:
    """What the demo needs to know about a tap.

    Attributes:
        vendor: The vendor's name.
        program: The Singer program.
        tool: The program for people, with the commands `emulate` and `load`.
        schema: Where Meltano puts the tables.
        streams: The streams that are shown.
        emulate: Takes the demo's options and returns those of `emulate`. It prints the settings.
        more: Path at the emulator whose POST adds data; empty if nothing can be added. The answer
            may be a JSON object that names what is new: ``generated_at``, and ``rows`` by stream.
        title: Heading of what the query shows.
        query: Rows that are shown once they have arrived.
        own: How to go on with one's own account.
        generation: Column with the time of the generation that a row belongs to.
        reads_folder: True if the option ``--folder`` is for this tap.
        grows: True if more rows are due with time, so that a later reading may have more.
    """

    vendor: str
    program: str
    tool: str
    schema: str
    streams: tuple[str, ...]
    emulate: Callable[[argparse.Namespace], list[str]]
    more: str
    title: str
    query: str
    own: str
    generation: str = "generated_at"
    reads_folder: bool = False
    grows: bool = False

    @property
    def pipeline(self) -> tuple[str, str]:
        """What `meltano run` runs."""
        return self.program, "target-postgres"

    @property
    def prefix(self) -> str:
        """What the names of its environment variables begin with."""
        return self.program.replace("-", "_").upper() + "_"


def _firstup(options: argparse.Namespace) -> list[str]:
    return [
        *("--seed", str(options.seed)),
        *("--generations", str(options.generations)),
        *("--rows", str(options.rows)),
    ]


def _simpplr(options: argparse.Namespace) -> list[str]:
    return [
        *("--seed", str(options.seed)),
        *("--days", str(options.generations)),
        *("--rows", str(max(1, options.rows // 20))),
    ]


def _hookbridge(options: argparse.Namespace) -> list[str]:
    return [
        *("--seed", str(options.seed)),
        *("--messages", str(options.rows // 4)),
        *("--pending", "0.2"),
        *("--processing", "0.2"),
    ]


def _userpilot(options: argparse.Namespace) -> list[str]:
    return [
        *("--seed", str(options.seed)),
        *("--rows", str(max(1, options.rows // 20))),
        *("--job-seconds", "0.5"),
    ]


TAPS = {
    "firstup": Tap(
        vendor="Firstup",
        program="tap-firstup-dde",
        tool="firstup-dde",
        schema="firstup",
        streams=("campaigns", "users", "activities"),
        emulate=_firstup,
        more="/emulator/generations",
        title="Engagement by campaign",
        query="""
            select c.campaign_name as campaign,
                   c.campaign_id as id,
                   count(distinct a.user_id) as people,
                   coalesce(sum(a.impressions), 0) as impressions,
                   coalesce(sum(a.opens), 0) as opens,
                   coalesce(sum(a.clicks), 0) as clicks
              from campaigns c
              join activities a on a.content_id::text = c.campaign_id
             group by c.campaign_id, c.campaign_name
             order by opens desc, clicks desc, campaign
             limit 8
        """,
        own="cp .env.example .env            # then fill in region, client ID, client secret and "
        "the database",
        reads_folder=True,
    ),
    "simpplr": Tap(
        vendor="Simpplr",
        program="tap-simpplr",
        tool="simpplr-exports",
        schema="simpplr",
        streams=("user", "content", "site", "user_logins"),
        emulate=_simpplr,
        more="/emulator/days",
        title="Who logged in most",
        query="""
            select u.name as person,
                   u.code as code,
                   to_char(max(l.login_datetime), 'YYYY-MM-DD HH24:MI') as last_login,
                   count(*) as logins
              from "user" u
              join user_logins l on l.user_code = u.code
             group by u.code, u.name
             order by logins desc, person
             limit 8
        """,
        own="""export TAP_SIMPPLR_FOLDER='{"url": "sftp://you@host/exports"}'  # and the """
        "database, as in .env.example",
    ),
    "hookbridge": Tap(
        vendor="HookBridge",
        program="tap-hookbridge",
        tool="hookbridge-exports",
        schema="hookbridge",
        streams=("outbound_messages", "inbound_messages"),
        emulate=_hookbridge,
        more="/emulator/messages",
        title="Where messages fail",
        query="""
            select endpoint,
                   count(*) as messages,
                   count(*) filter (where status = 'succeeded') as succeeded,
                   count(*) filter (where status = 'pending_retry') as retried,
                   round(avg(response_latency_ms)) as milliseconds
              from outbound_messages
             group by endpoint
             order by messages desc, endpoint
        """,
        own="export TAP_HOOKBRIDGE_API_KEY=... TAP_HOOKBRIDGE_START_DATE=...  # and the database, "
        "as in .env.example",
        grows=True,
    ),
    "userpilot": Tap(
        vendor="Userpilot",
        program="tap-userpilot",
        tool="userpilot-exports",
        schema="userpilot",
        streams=("events", "flows", "surveys"),
        emulate=_userpilot,
        more="",
        title="Events by type",
        query="""
            select event_type,
                   count(*) as events,
                   count(distinct user_id) as people,
                   to_char(max(inserted_at), 'YYYY-MM-DD HH24:MI') as last
              from events
             group by event_type
             order by events desc, event_type
        """,
        own="export TAP_USERPILOT_API_KEY=... TAP_USERPILOT_START_DATE=...  # and the database, "
        "as in .env.example",
    ),
}
