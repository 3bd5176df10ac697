"""Sample export files, the same for the same arguments, in the dialect of Redshift's UNLOAD.

Users and campaigns keep their ids from one generation to the next: each generation updates most of
those of the generation before, adds some new ones, and its activities refer to them.
"""

from __future__ import annotations

import csv
import io
import random
import re
from datetime import date, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

T = TypeVar("T")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


INTERVAL: Final = timedelta(hours=4)
"""Time between two generations."""

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "campaigns": _words(
        """campaign_name campaign_id publish_date archive_date publisher_user_id publisher_name
        author_user_id author_name content_version studio_url topic_id topic_name
        topic_subscriber_count initiatives is_featured is_shareable is_commentable is_translatable
        duration priority acknowledgeable author_alias_id author_alias_name publication_state
        source_type audiences content_type channels acknowledge_message resources for_you
        optimized_delivery automatic_retargeting subject_line preview generated_at"""
    ),
    "users": _words(
        """user_id first_name last_name universal_identifier experience_status blocked_at
        studio_role last_visited_date account_created_date registered_date preferred_name
        profile_zip profile_job_title profile_birthdate attribute_company attribute_department
        attribute_job_description attribute_gender attribute_city attribute_state attribute_country
        attribute_region attribute_hire_date attribute_start_date attribute_language
        attribute_work_location attribute_timezone attribute_locale attribute_cost_center
        attribute_division attribute_manager attribute_employee_type
        attribute_business_unit"""
    ),
    "activities": _words(
        """content_id content_name content_published_at user_id user_name likes shares bookmarks
        email_opens feed_clicks emails_delivered emails_clicks push_clicks impressions downloads
        poll_responses acknowledge_counts platform date assistant_delivered_count assistant_opens
        video_plays push_delivered link_clicks link_clicked opens clicks subject_line preview
        generated_at"""
    ),
}
"""Columns of each stream's files, in the order Firstup documents them."""

# fmt: off
_FIRST_NAMES: Final = ("Zoë", "José", "Łukasz", "Małgorzata", "伟", "秀英", "محمد", "فاطمة",
                       "Anaïs", "Søren", "Jürgen", "Ana María", "O'Neil", "Priya", "Chidi")
_LAST_NAMES: Final = ("García Márquez", "Müller", "Wiśniewska", "Żółć", "王", "李", "الأحمد",
                      "de la Cruz, Jr.", "Ångström", "Nguyễn", "Smith", "Okonkwo", "D'Arcy")
_NICKNAMES: Final = ("", "", "", 'The "Boss"', "Zo 🌟", "Gosia", "小李", "J.R.")
_JOBS: Final = ("Nurse, ICU", "Forklift operator", "Kierownik zmiany", "店长", "مهندس",
                'Driver ("C" licence)', "Chargé de clientèle", "Data analyst")
_DESCRIPTIONS: Final = ("", "", "Opens the shop,\ncloses the shop", "Keeps the line running")
# City, state, country, region, postcode, language, locale, time zone.
_PLACES: Final = (
    ("New York", "NY", "United States", "Americas", "00501", "English", "en_US",
     "America/New_York"),
    ("Boston", "MA", "United States", "Americas", "02134", "English", "en_US",
     "America/New_York"),
    ("São Paulo", "SP", "Brasil", "Americas", "01310-100", "Português", "pt_BR",
     "America/Sao_Paulo"),
    ("Łódź", "", "Polska", "EMEA", "90-001", "Polski", "pl_PL", "Europe/Warsaw"),
    ("Dresden", "Sachsen", "Deutschland", "EMEA", "01067", "Deutsch", "de_DE", "Europe/Berlin"),
    ("上海", "", "中国", "APAC", "200000", "中文", "zh_CN", "Asia/Shanghai"),
    ("دبي", "", "الإمارات", "EMEA", "", "العربية", "ar_AE", "Asia/Dubai"),
)
_DEPARTMENTS: Final = ("Operations", "People & Culture", "R&D", "Sales, EMEA", "物流")
_TITLES: Final = ("Welcome to the team 🎉", 'Our "One Firm" plan for {year}',
                  "Safety first, always", "Wyniki kwartału: dziękujemy!", "新的福利政策",
                  "مرحبا بكم في الفريق", "Fête de l'été ☀️", "Benefits: what changes, and when")
_PREVIEWS: Final = (
    "Everything you need to know.",
    'Dear all,\n\nas promised: the "new" shifts.\nYours, Operations',
    "Zażółć gęślą jaźń: przeczytaj, zanim zaczniesz zmianę",
    "三分钟读完新政策、新工具。",
    "اقرأ الخبر، ثم أخبرنا برأيك",
    "",
)
# Ids and names as JSON, subscribers as numbers.
_TOPICS: Final = (
    ("[101]", '["Company news"]', (5210,)),
    ("[101, 104]", '["Company news", "Health, safety"]', (5210, 311)),
    ("[107, 110]", '["Życie firmy", "福利"]', (87, 1204)),
    ("[]", "[]", ()),
)
_INITIATIVES: Final = ("[]", '["Safety 2026"]', '["Onboarding", "Wellbeing, together"]')
_AUDIENCES: Final = ('["All employees"]', '["Warehouse, night shift", "Zarząd"]', '["门店"]')
_CHANNELS: Final = ('["email", "feed"]', '["feed", "push", "assistant"]', '["email"]')
_RESOURCES: Final = ("[]", '[{"name": "Plan.pdf", "pages": 4}]')
# fmt: on
# What one event counts, and where it happened.
_EVENTS: Final = (
    (("impressions",), ("mobile", "web", "")),
    (("feed_clicks", "clicks"), ("mobile", "web")),
    (("emails_delivered",), ("email",)),
    (("email_opens", "opens"), ("email",)),
    (("emails_clicks", "link_clicks", "link_clicked", "clicks"), ("email",)),
    (("push_delivered",), ("ios", "android")),
    (("push_clicks", "clicks"), ("ios", "android")),
    (("assistant_delivered_count",), ("assistant",)),
    (("assistant_opens", "opens"), ("assistant",)),
    (("likes",), ("mobile", "web")),
    (("shares",), ("mobile",)),
    (("bookmarks",), ("web",)),
    (("video_plays",), ("mobile", "web")),
    (("acknowledge_counts",), ("mobile",)),
    (("poll_responses",), ("web",)),
    (("downloads",), ("web",)),
)
_DAYS: Final = tuple(str(date(2021, 1, 1) + timedelta(days=day)) for day in range(1500))
_CLOCK: Final = tuple(f"{minute:02}:{second:02}" for minute in range(60) for second in range(60))


def sizes(rows: int) -> dict[str, int]:
    """Count the rows of one file of each stream, header not counted.

    Args:
        rows: Rows of one activities file.
    """
    return {"campaigns": max(2, rows // 20), "users": max(3, rows // 4), "activities": rows}


def generation(
    seed: int, number: int, generated_at: datetime, rows: int, *, parts: int = 2
) -> dict[str, list[str]]:
    """Write the export files of one generation.

    Args:
        seed: Picks the people, the texts and the events.
        number: Position of the generation in its series, from 0; determines who is new and who is
            updated.
        generated_at: End of the four hours that the activities are from; UTC.
        rows: Rows of one activities file; users are about a quarter as many, campaigns a twentieth.
        parts: Files per stream.

    Returns:
        For each stream the CSV text of each part, header included.
    """
    size = sizes(rows)
    users = _known(number, size["users"] * parts)
    campaigns = _known(number, size["campaigns"] * parts)
    campaign_rows = [_campaign(seed, number, index, generated_at) for index in campaigns]
    user_rows = [_user(seed, number, index, generated_at) for index in users]
    contents = [_content(row) for row in campaign_rows]
    people = [_line((row[0], f"{row[1]} {row[2]}")) for row in user_rows]
    return {
        "campaigns": [_table("campaigns", part) for part in _split(campaign_rows, parts)],
        "users": [_table("users", part) for part in _split(user_rows, parts)],
        "activities": [
            "\n".join(
                (
                    ",".join(COLUMNS["activities"]),
                    *_activities(f"{seed}/{number}/{part}", contents, people, generated_at, rows),
                    "",
                )
            )
            for part in range(parts)
        ],
    }


def _known(number: int, count: int) -> range:
    """The users or campaigns in a generation: a quarter new, the others from earlier ones."""
    first = number * max(1, count // 4)
    return range(first, first + count)


def _split(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    size = len(items) // parts
    return [items[part * size : (part + 1) * size] for part in range(parts)]


def _table(stream: str, rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[stream])
    writer.writerows(rows)
    return text.getvalue()


def _line(cells: Sequence[str]) -> str:
    """Write some cells of a row, as ``_table`` would."""
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if re.search('[",\r\n]', cell) else cell
        for cell in cells
    )


def _dice(*about: object) -> bytes:
    """32 bytes that are always the same for the same arguments."""
    return blake2b("/".join(map(str, about)).encode(), digest_size=32).digest()


def _pick(pool: Sequence[T], dice: int) -> T:
    return pool[dice % len(pool)]


def _flag(dice: int) -> str:
    return "t" if dice & 1 else "f"


def _user(seed: int, number: int, index: int, generated_at: datetime) -> list[str]:
    dice = _dice(seed, "user", index)
    turn = dice[2] + number * 37  # what changes differs from one generation to the next
    city, state, country, region, postcode, language, locale, timezone = _pick(_PLACES, dice[0])
    blocked = dice[1] < 12
    seen_at = generated_at.replace(tzinfo=None) - timedelta(minutes=turn % 240, seconds=dice[3])
    created = dice[21] * 5 + dice[12] % 5
    department = _pick(_DEPARTMENTS, dice[4])
    return [
        str(4_100_000 + index),
        _pick(_FIRST_NAMES, dice[5]),
        _pick(_LAST_NAMES, dice[6]),
        f"{index * 37 + 42:08}",
        "blocked" if blocked else _pick(("registered", "registered", "invited"), dice[7]),
        f"{_DAYS[1300 + dice[8] % 200]} 09:{_pick(_CLOCK, dice[10])}" if blocked else "",
        _pick(("", "", "", "Publisher", "Program Manager"), dice[11]),
        str(seen_at),
        f"{_DAYS[created]} 08:00:00",
        f"{_DAYS[created + dice[9] % 9]} 12:{_CLOCK[dice[13]]}",
        _pick(_NICKNAMES, dice[14]),
        postcode,
        _pick(_JOBS, turn if turn % 16 == 0 else dice[15]),
        f"{1960 + dice[16] % 40}-{dice[17] % 12 + 1:02}-{dice[18] % 28 + 1:02}",
        "Acme, Inc.",
        department,
        _pick(_DESCRIPTIONS, dice[19]),
        _pick(("F", "M", "X", ""), dice[20]),
        city,
        state,
        country,
        region,
        _DAYS[created],
        _DAYS[created + dice[9] % 30],
        language,
        f"{city} #{dice[22] % 12 + 1}",
        timezone,
        locale,
        f"{dice[23] % 90:04}",
        _pick(("North", "South", "Ost", "西"), dice[24]),
        f"{_pick(_FIRST_NAMES, dice[25])} {_pick(_LAST_NAMES, dice[26])}",
        _pick(("Full-time", "Part-time", "Contractor"), dice[27]),
        f"{department} {region}",
    ]


def _campaign(seed: int, number: int, index: int, generated_at: datetime) -> list[str]:
    made_at = str(generated_at.replace(tzinfo=None))
    dice = _dice(seed, "campaign", index)
    topic_ids, topic_names, subscribers = _pick(_TOPICS, dice[0])
    published = _DAYS[1000 + dice[1] + dice[2] % 200]
    archived = number % 3 == 2 and dice[3] < 64  # one in four, now and then
    title = _pick(_TITLES, dice[4]).format(year=int(published[:4]) + 1)
    author, publisher = dice[5] % 3, dice[6] % 3
    key = str(90_000 + index)
    return [
        title,
        key,
        f"{published} {dice[7] % 24:02}:{_CLOCK[dice[8]]}",
        made_at if archived else "",
        str(4_100_000 + publisher),
        _name(seed, publisher),
        str(4_100_000 + author),
        _name(seed, author),
        f"{number + 1}.0",
        f"https://studio.example.com/campaigns/{key}?tab=content,preview",
        topic_ids,
        topic_names,
        f"[{', '.join(str(count + number) for count in subscribers)}]",
        _pick(_INITIATIVES, dice[9]),
        _flag(dice[10]),
        _flag(dice[11]),
        _flag(dice[12]),
        _flag(dice[13]),
        str(dice[14] % 30 + 1),
        str(dice[15] % 3 + 1),
        _flag(dice[16]),
        "" if dice[17] < 128 else str(700 + dice[17] % 5),
        "" if dice[17] < 128 else "Team Communications",
        "archived" if archived else "published",
        _pick(("studio", "assistant", "api"), dice[18]),
        _pick(_AUDIENCES, dice[19]),
        _pick(("article", "video", "poll", "link"), dice[20]),
        _pick(_CHANNELS, dice[21]),
        'I have read this and I "agree",\nevery word.' if dice[16] & 1 else "",
        _pick(_RESOURCES, dice[22]),
        _flag(dice[23]),
        _flag(dice[24]),
        _flag(dice[25]),
        f"{title} - {made_at[:10]}" if dice[21] % 3 != 1 else "",
        _pick(_PREVIEWS, dice[26]),
        made_at,
    ]


def _name(seed: int, index: int) -> str:
    dice = _dice(seed, "user", index)
    return f"{_pick(_FIRST_NAMES, dice[5])} {_pick(_LAST_NAMES, dice[6])}"


def _content(campaign: Sequence[str]) -> tuple[str, str]:
    """The first and the last cells of every activity of a campaign, as CSV."""
    name, key, published_at = campaign[:3]
    return _line((key, name, published_at)), _line(campaign[-3:])


def _event(counted: tuple[str, ...], platform: str) -> tuple[str, str]:
    """An event's cells before and after its date, as CSV."""
    cells = [str(int(column in counted)) for column in COLUMNS["activities"]]
    return ",".join((*cells[5:17], platform)), ",".join(cells[19:27])


def _activities(
    seed: str,
    contents: Sequence[tuple[str, str]],
    people: Sequence[str],
    generated_at: datetime,
    rows: int,
) -> Iterator[str]:
    # Only a sample: what matters is that it is the same every time.
    chance = random.Random(seed)  # noqa: S311
    events = [_event(counted, platform) for counted, where in _EVENTS for platform in where]
    start = generated_at.replace(tzinfo=None) - INTERVAL
    hours = [f"{start + timedelta(hours=hour):%Y-%m-%d %H}" for hour in range(4)]
    dates = [f"{hour}:{clock}" for hour in hours for clock in _CLOCK]
    for (head, tail), person, (before, after), when in zip(
        chance.choices(contents, k=rows),
        chance.choices(people, k=rows),
        chance.choices(events, k=rows),
        chance.choices(dates, k=rows),
        strict=True,
    ):
        yield f"{head},{person},{before},{when},{after},{tail}"
