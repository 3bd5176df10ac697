"""What Firstup documents about the columns of its export files.

Source: Firstup's knowledge base, "Direct Data Export v2", File Metadata. It lists labels
only (``User ID``); neither header rows nor types nor formats are documented. The names here
are the labels in snake case; the types are what a column gets while it has no values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.columns.added import ROW_KEY
from filetap.vendor import Documented, StreamSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_USERS = """
user_id first_name last_name universal_identifier experience_status blocked_at studio_role
last_visited_date account_created_date registered_date preferred_name
profile_zip profile_job_title profile_birthdate attribute_company attribute_department
attribute_job_description attribute_gender attribute_city attribute_state attribute_country
attribute_region attribute_hire_date attribute_start_date attribute_language
attribute_work_location attribute_timezone attribute_locale attribute_cost_center
attribute_division attribute_manager attribute_employee_type attribute_business_unit
""".split()
_CAMPAIGNS = """
campaign_name campaign_id publish_date archive_date publisher_user_id publisher_name
author_user_id author_name content_version studio_url topic_id topic_name
topic_subscriber_count initiatives is_featured is_shareable is_commentable is_translatable
duration priority acknowledgeable author_alias_id author_alias_name publication_state
source_type audiences content_type channels acknowledge_message resources for_you
optimized_delivery automatic_retargeting subject_line preview
""".split()
_ACTIVITIES = """
content_id content_name content_published_at user_id user_name likes shares bookmarks
email_opens feed_clicks emails_delivered emails_clicks push_clicks impressions downloads
poll_responses acknowledge_counts platform date assistant_delivered_count assistant_opens
video_plays push_delivered link_clicks link_clicked opens clicks subject_line preview
""".split()

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
# Keys, codes and free text, which are text even where they look like something else.
_TEXT = frozenset(
    """
    user_id campaign_id first_name last_name preferred_name universal_identifier user_name
    campaign_name content_name publisher_name author_name author_alias_name topic_name
    content_version profile_zip profile_job_title acknowledge_message subject_line preview
    """.split()
) | {
    name
    for name in _USERS
    if name.startswith("attribute_") and name not in {"attribute_hire_date", "attribute_start_date"}
}


def _documented_type(name: str) -> str:
    """The type of a column while it has no values, by its name, in whichever stream."""
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
            {name: _documented_type(name) for name in names}, _TEXT, _YES_NO, _documented_type
        ),
    )
    for stream, key, names in (
        ("campaigns", ("campaign_id",), _CAMPAIGNS),
        ("users", ("user_id",), _USERS),
        ("activities", ROW_KEY, _ACTIVITIES),
    )
}
