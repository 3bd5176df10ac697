"""The columns that Firstup documents, with the types of those that have no values yet.

Neither header rows nor types nor formats are documented: the names are the labels of the
`dictionary` in snake case, and the types follow from the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.columns.added import ROW_KEY
from filetap.vendor import Documented, StreamSpec
from tap_firstup_dde.dictionary import COLUMNS, TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

_YES_NO = frozenset(
    """
    is_featured is_shareable is_commentable is_translatable acknowledgeable for_you
    optimized_delivery automatic_retargeting
    """.split()
)
_COUNTS = frozenset(
    """
    topic_subscriber_count duration priority likes shares bookmarks email_opens feed_clicks
    emails_delivered emails_clicks push_clicks impressions downloads poll_responses
    acknowledge_counts assistant_delivered_count assistant_opens video_plays push_delivered
    link_clicks opens clicks
    """.split()
)
# Keys, codes and free text, which are text even if they look like something else.
_TEXT = frozenset(
    """
    user_id campaign_id first_name last_name preferred_name universal_identifier user_name
    campaign_name content_name publisher_name author_name author_alias_name topic_name
    content_version profile_zip profile_job_title acknowledge_message subject_line preview
    """.split()
) | {
    name
    for name in COLUMNS["users"]
    if name.startswith("attribute_") and name not in {"attribute_hire_date", "attribute_start_date"}
}


def _documented_type(name: str) -> str:
    """The type of a column that has no values yet, from its name, in any stream."""
    if name in _YES_NO:
        return "boolean"
    if name in _COUNTS:
        return "integer"
    if name == "date" or name.endswith(("_at", "_date")):
        return "date-time"
    return "string"


# Activities are raw events without an id of their own: equal rows can be two events.
STREAMS: Mapping[str, StreamSpec] = {
    stream: StreamSpec(
        stream,
        key,
        Documented(
            {name: _documented_type(name) for name in COLUMNS[stream]},
            _TEXT,
            _YES_NO,
            _documented_type,
            about=TABLES[stream],
            texts={name: each.text for name, each in COLUMNS[stream].items()},
        ),
    )
    for stream, key in (
        ("campaigns", ("campaign_id",)),
        ("users", ("user_id",)),
        ("activities", ROW_KEY),
    )
}
