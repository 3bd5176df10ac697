"""What Firstup's documents say about each column of its export files.

Source: Firstup's knowledge base, "Direct Data Export v2", File Metadata. It lists labels, and says
more about only a few; what it does not say is not guessed here. `docs/columns.md`, the dbt
package and ``--about`` repeat these descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from filetap.read.names import normal_form

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TABLES: Final = {
    "campaigns": "Campaigns that were created or updated within the period of an export.",
    "users": "Users whose data was updated within the period of an export.",
    "activities": "Raw events: clicks, opens, likes, video plays, acknowledgements and others.",
}
"""Stream → what its files hold."""

# A column a line: its label and, after a colon, what else is documented.
_USERS: Final = """
User ID
First Name
Last Name
Universal Identifier
Experience Status: Its values are not documented.
Blocked At
Studio Role
Last Visited Date
Account Created Date
Registered Date
Preferred Name
profile_zip: Standard attribute.
profile_job_title: Standard attribute.
profile_birthdate: Standard attribute.
attribute_company: Standard attribute.
attribute_department: Standard attribute.
attribute_job_description: Standard attribute.
attribute_gender: Standard attribute.
attribute_city: Standard attribute.
attribute_state: Standard attribute.
attribute_country: Standard attribute.
attribute_region: Standard attribute.
attribute_hire_date: Standard attribute.
attribute_start_date: Standard attribute.
attribute_language: Standard attribute.
attribute_work_location: Standard attribute.
attribute_timezone: Standard attribute.
attribute_locale: Standard attribute.
attribute_cost_center: Standard attribute.
attribute_division: Standard attribute.
attribute_manager: Standard attribute.
attribute_employee_type: Standard attribute.
attribute_business_unit: Standard attribute.
"""
_CAMPAIGNS: Final = """
Campaign Name
Campaign ID
Publish Date
Archive Date
Publisher User ID
Publisher Name
Author User ID
Author Name
Content Version
Studio URL
Topic ID: Listed under Topics; how several are written is not documented.
Topic Name: Listed under Topics; how several are written is not documented.
Topic Subscriber Count: Listed under Topics; how several are written is not documented.
Initiatives
Is Featured
Is Shareable
Is Commentable
Is Translatable
Duration: Its unit is not documented.
Priority
Acknowledgeable
Author Alias ID
Author Alias Name
Publication State: Its values are not documented.
Source Type: Its values are not documented.
Audiences
Content Type: Its values are not documented.
Channels: Delivery channels.
Acknowledge Message
Resources
For You
Optimized Delivery
Automatic Retargeting
Subject Line
Preview
"""
_ACTIVITIES: Final = """
Content ID: That it is a Campaign ID is not documented; the example queries and the dbt package treat it as one.
Content Name
Content Published At
User ID: User ID of the user who engaged with the content.
User Name: Name of the user who engaged with the content.
Likes
Shares
Bookmarks
Email Opens: Listed apart from Opens, which may or may not include it.
Feed Clicks: Listed apart from Clicks, which may or may not include it.
Emails Delivered
Emails Clicks: Listed apart from Clicks, which may or may not include it.
Push Clicks: Listed apart from Clicks, which may or may not include it.
Impressions
Downloads
Poll Responses
Acknowledge Counts
Platform: Its values are not documented.
Date: Date of engagement.
Assistant Delivered Count: Assistant now refers to Notification Center.
Assistant Opens: Assistant now refers to Notification Center. Listed apart from Opens, which may or may not include it.
Video Plays
Push Delivered
Link Clicks: Listed next to Link Clicked; how the two differ is not documented.
Link Clicked: Listed next to Link Clicks; how the two differ is not documented.
Opens: Listed apart from Email Opens and Assistant Opens; whether it includes them is not documented.
Clicks: Listed apart from Feed, Emails, Push and Link Clicks; whether it includes them is not documented.
Subject Line
Preview
"""  # noqa: E501 - a column a line

ADDED: Final = {
    "generated_at": "When the file that the row is from was generated (UTC).",
    "_sdc_source_file": "Which file the row is from.",
    "_sdc_source_lineno": "Which row of that file it is, from 1.",
}
"""Columns that the tap adds → what they hold."""


@dataclass(frozen=True, slots=True)
class Described:
    """A documented column.

    Attributes:
        label: Its name in Firstup's documents.
        note: What else they say, or leave open; empty for nothing.
    """

    label: str
    note: str

    @property
    def text(self) -> str:
        """Label and note as one text."""
        return f"{self.label}. {self.note}".rstrip()


def _columns(text: str) -> Iterator[tuple[str, Described]]:
    """Name and description of each column of a list."""
    for line in text.strip().splitlines():
        label, _, note = line.partition(": ")
        yield normal_form(label), Described(label, note)


COLUMNS: Final[Mapping[str, Mapping[str, Described]]] = {
    "campaigns": dict(_columns(_CAMPAIGNS)),
    "users": dict(_columns(_USERS)),
    "activities": dict(_columns(_ACTIVITIES)),
}
"""Stream → documented column, by the name that the tap gives it, in the order of the documents."""

DELIVERIES: Final = frozenset({"emails_delivered", "push_delivered", "assistant_delivered_count"})
"""Activities' counters of what was sent to a user, who has done nothing by that."""

ACTIONS: Final = frozenset(
    """
    likes shares bookmarks email_opens feed_clicks emails_clicks push_clicks impressions downloads
    poll_responses acknowledge_counts assistant_opens video_plays link_clicks opens clicks
    """.split()
)
"""Activities' counters of what a user saw or did."""
