"""The page shows what the files contain, accessibly, and fetches nothing."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.files import ExportFile
from filetap.people.inventory import LEFT_OUT, PARTLY, PENDING, READ, Available
from filetap.people.report import generations as coverage
from filetap.people.report import page as report
from filetap.people.report.generations import Generation, StreamTypes
from filetap.people.report.html import CSS, short
from tap_firstup_dde import engagement, sample_data
from tap_firstup_dde.dictionary import ACTIONS, DELIVERIES
from tap_firstup_dde.engagement import Engagement, Figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOUR = timedelta(hours=1)
NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
STATUSES = (READ, READ, READ, LEFT_OUT, PARTLY, PENDING, None)
HOSTILE = '<script src="//x">\'&"]]>\x00\x1b\ud800</style>'


def times(*hours: float) -> list[datetime]:
    """Moments some hours after noon."""
    return [NOON + hour * HOUR for hour in hours]


def series(stream: str, count: int) -> list[Generation]:
    """Generations every four hours up to noon, in all states."""
    return [
        Generation(stream, moment, 2, 1000 + n, 10 + n, STATUSES[n % 7], moment + 168 * HOUR)
        for n, moment in enumerate(times(*range(-4 * count + 4, 1, 4)))
    ]


def make(**changes: Any) -> str:
    """A page of example data, except for *changes*."""
    days = [Engagement(date(2026, 5, 1 + n), 5 + n, 90 + n, 70, 30 + n, n) for n in range(9)]
    types = [StreamTypes("users", {"a": "string", "b": "integer", "c": "string"}, ["b"])]
    own = engagement.section(Figures(changes.pop("engagement", days)))
    content: dict[str, Any] = {
        "heading": "Export files of program 23552",
        "source": "api.example.com",
        "now": NOON,
        "generations": series("users", 20),
        "types": types,
        "more": [report.Section("engagement", "Engagement", own)],
    }
    return report.page(report.Report(**(content | changes)))


def parse(page: str) -> ET.Element:
    """The page, read as strictly as XML is."""
    return ET.fromstring(page)  # noqa: S314 - our own


def cells(page: str, caption: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    (found,) = (t for t in parse(page).iter("table") if t.findtext("caption") == caption)
    return [["".join(cell.itertext()) for cell in row] for row in found.iterfind("tbody/tr")]


PAGES = {
    "full": make(),
    "empty": make(heading="Export files", generations=[], types=[], engagement=[]),
    "one": make(generations=series("users", 1)),
    "no numbers": make(generations=[Generation("users", NOON, 1, None, None, None, None)]),
    "far apart": make(
        generations=[
            Generation("users", moment, 1, 1, 1, READ, None)
            for moment in (datetime(1, 1, 1, tzinfo=UTC), NOON, datetime(9999, 12, 31, tzinfo=UTC))
        ]
    ),
    "hostile": make(
        heading=HOSTILE,
        source=HOSTILE,
        generations=series(HOSTILE, 5),
        types=[StreamTypes(HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE])],
    ),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_sound(page: str) -> None:
    """Whatever its data, a page is well-formed, its ids are unique, and its references resolve."""
    root = parse(page)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    named = " ".join(element.get("aria-labelledby", "") for element in root.iter()).split()
    assert root.get("lang") == "en"
    assert len(ids) == len(set(ids))
    assert {*named} <= {*ids}
    assert {e.get("href", "#")[1:] for e in root.iter()} - {""} <= {*ids}
    assert page.encode()


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_fetches_nothing(page: str) -> None:
    """No element or style refers to anything outside the page, and it has no script."""
    root = parse(page)
    links = [e.get(name) for e in root.iter() for name in ("src", "href") if e.get(name)]
    assert all(link and link.startswith("#") for link in links)
    assert not {"script", "link", "img", "iframe", "object"} & {e.tag for e in root.iter()}
    assert not re.search(r"url\(|@import|<script", page)
    assert not [name for e in root.iter() for name in e.attrib if name.startswith("on")]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_for_everybody(page: str) -> None:
    """Charts have text, tables have headers, headings descend by one, scroll areas take focus."""
    root = parse(page)
    charts = [svg for svg in root.iter("svg") if svg.find("desc") is not None]
    assert all(svg.findtext("title") for svg in root.iter("svg"))
    assert all(svg.findtext("desc") and svg.get("role") == "img" for svg in charts)
    assert all(table.findtext("caption") for table in root.iter("table"))
    assert all(head.get("scope") in {"row", "col"} for head in root.iter("th"))
    levels = [int(e.tag[1]) for e in root.iter() if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    scrolling = [e for e in root.iter("div") if "scroll" in e.get("class", "")]
    assert all(e.get("tabindex") == "0" and e.get("aria-label") for e in scrolling)
    assert [e.tag for e in root.iterfind("body/*")] == ["a", "header", "nav", "main"]


def test_values_are_text() -> None:
    """Names from files are shown unchanged; characters that HTML cannot hold are marked."""
    root = parse(PAGES["hostile"])
    shown = HOSTILE.translate(dict.fromkeys((0, 0x1B, 0xD800), "\ufffd"))
    assert root.findtext(".//header/h1") == shown
    assert root.findtext(".//header/p/bdi") == shown
    assert root.findtext(".//h3/bdi") == shown


def test_generations_table() -> None:
    """The table has each generation's numbers, and each missing one."""
    found = series("users", 20)
    del found[7]
    rows = cells(make(generations=found), "Generations of users")
    numbers = {row[0]: [int(cell.replace(",", "")) for cell in row[2:5]] for row in rows if row[3]}
    assert list(numbers.values()) == [[g.files, g.rows, g.size] for g in found]
    assert [row[:3] for row in rows if not row[3]] == [["2026-05-12 12:00 UTC", "missing", "0"]]


def test_engagement_table() -> None:
    """The table has each day's numbers."""
    days = [Engagement(date(2026, 5, day), day, 1234567, 5, 0, 10**20) for day in (2, 1)]
    assert cells(make(engagement=days), "Engagement by day (UTC)") == [
        [f"2026-05-0{day}", f"{day}", "1,234,567", "5", "0", f"{10**20:,}", "yes"] for day in (1, 2)
    ]


def test_types_table() -> None:
    """The table counts a stream's columns by type and names those with misfits."""
    (row,) = cells(make(), "Columns by type, as emitted")
    assert row == ["users", "3", "2", "1", "0", "0", "0", "0", "b"]


@pytest.mark.parametrize(
    ("status", "hours", "state"),
    [
        (READ, 1, READ),
        (LEFT_OUT, 1, LEFT_OUT),
        (PENDING, 48, coverage.SOON),
        (PARTLY, -1, coverage.SOON),
        (None, 1, coverage.SOON),
        (PENDING, 49, PENDING),
        (PARTLY, 49, PARTLY),
        (PENDING, None, PENDING),
        (None, None, coverage.UNKNOWN),
    ],
)
def test_state(status: str | None, hours: int | None, state: str) -> None:
    """Unread files that expire within 48 hours are highlighted, in the cell and in the table."""
    ends = None if hours is None else NOON + hours * HOUR
    page = make(generations=[Generation("users", NOON - HOUR, 1, 1, 1, status, ends)])
    (row,) = cells(page, "Generations of users")
    (cell,) = (use for use in parse(page).iter("use") if use.findtext("title"))
    assert (row[1], cell.findtext("title")) == (state, f"2026-05-14 11:00 UTC: {state}")


def test_summary() -> None:
    """The paragraph and the numbers below it agree with the generations."""
    found = [
        Generation("users", NOON - 8 * HOUR, 1, 500, 1, READ, NOON + HOUR),
        Generation("users", NOON - 4 * HOUR, 2, 500, 1, PENDING, NOON + 20 * HOUR, unread=2),
        Generation("users", NOON, 3, 500, 1, PARTLY, NOON + 40 * HOUR, unread=1),
        Generation("activities", NOON, 1, 0, 1, READ, NOON + 40 * HOUR),
    ]
    (section,) = parse(make(generations=found)).iterfind(".//section[@aria-labelledby='summary']")
    assert "".join(section.find("p").itertext()) == (  # type: ignore[union-attr]
        "7 files of 3 generations can be fetched, 1.5 kB in all. The newest generation is of "
        "2026-05-14 12:00 UTC. 3 files are still to be read. Of these, 2 will be gone within 24 "
        "hours, 3 within 48 hours. 0 generations are missing between the first and the last."
    )
    assert [e.text for e in section.iter("dd")] == ["7", "3", "2", "3", "0"]


FRESH = [Generation("users", NOON - 8 * HOUR, 2, 9, 9, READ, NOON + 99 * HOUR)]
SOON = [Generation("users", NOON, 2, 9, 9, PENDING, NOON + 20 * HOUR, unread=2)]
LATER = [Generation("users", NOON, 1, 9, 9, PENDING, NOON + 40 * HOUR, unread=1)]
UNSURE = [Generation("users", NOON, 1, 9, 9, None, NOON + 20 * HOUR, unread=1)]
OLD = [Generation("users", NOON - 9 * HOUR * n, 1, 9, 9, READ, None) for n in (3, 4, 5)]
GAP = [Generation("users", NOON - 4 * HOUR * n, 1, 9, 9, READ, None) for n in (0, 1, 3, 4)]


@pytest.mark.parametrize(
    ("found", "damaged", "level", "words"),
    [
        (FRESH, [], "well", "Newest generation: 2026-05-14 04:00 UTC, 8h old."),
        (FRESH, ["000.csv: broken"], "fault", "1 file cannot be read."),
        ([], [], "fault", "There are no export files."),
        (SOON, [], "fault", "2 files, not read, expire within 24 hours."),
        (LATER, [], "doubt", "1 file, not known to be read, expires in 24 to 48 hours."),
        (UNSURE, [], "doubt", "1 file, perhaps not read, expires within 24 hours."),
        (OLD, [], "doubt", "Late: the newest generation is 1d 3h old; one every 9h is usual."),
        (GAP, [], "doubt", "users: 1 generation is missing, the last one of 2026-05-14 04:00 UTC."),
    ],
)
def test_verdict(found: list[Generation], damaged: list[str], level: str, words: str) -> None:
    """The page begins with what is wrong; a mark and words say it, not only a colour."""
    (block,) = parse(make(generations=found, damaged=damaged)).iterfind("body/header/div")
    assert block.get("class") == f"verdict {level}"
    assert words in [item.text for item in block.iter("li")]
    assert block.findtext("strong/span") == {"well": "✓", "doubt": "!", "fault": "✗"}[level]


def test_damaged_files_are_named() -> None:
    """Each file that cannot be read is on the page, with the reason."""
    page = parse(make(damaged=[HOSTILE, "users 2026-05-14-12/000.csv: CRC64NVME differs"]))
    (section,) = page.iterfind(".//section[@aria-labelledby='damaged']")
    shown = HOSTILE.translate(dict.fromkeys((0, 0x1B, 0xD800), "\ufffd"))
    assert [item.findtext("bdi") for item in section.iter("li")] == [
        shown,
        "users 2026-05-14-12/000.csv: CRC64NVME differs",
    ]


@pytest.mark.parametrize(
    ("hours", "labels"),
    [
        ([8], ["08:00"]),
        ([8, 32, 56], ["08:00"]),
        ([8, 34, 60], [""]),
        ([2, 6, 10, 26, 30], ["02:00", "06:00", "10:00", "14:00", "18:00", "22:00"]),
        ([0, 4, 8, 16], ["00:00", "04:00", "08:00", "12:00", "16:00"]),
    ],
)
def test_hours(hours: list[int], labels: list[str]) -> None:
    """Rows of cells are labelled with the time of their generations."""
    first = datetime(2026, 5, 14, tzinfo=UTC)
    found = [Generation("users", first + hour * HOUR, 1, 1, 1, READ, None) for hour in hours]
    (chart,) = (
        svg
        for svg in parse(make(generations=found)).iter("svg")
        if (svg.findtext("title") or "").startswith("Generations of")
    )
    ticks = [e.text or "" for e in chart.iter("text") if e.get("class") == "tick"]
    assert ticks == labels


@pytest.mark.parametrize(
    ("days", "least", "labels"),
    [
        (1, 4, (1, 1)),
        (7, 28, (7, 2)),
        (60, 240, (8, 2)),
        (400, 1600, (19, 19)),
        (20_000, 4000, (51, 51)),
    ],
)
def test_charts_fill_the_page(days: int, least: int, labels: tuple[int, int]) -> None:
    """A chart is as wide as the page; labels that a narrow one has no room for are marked."""
    found = [Generation("users", NOON - 24 * HOUR * n, 1, 1, 1, READ, None) for n in (0, days - 1)]
    for chart in parse(make(generations=found, engagement=[])).iter("svg"):
        if chart.find("desc") is None:
            continue
        assert (chart.get("width"), chart.get("style")) == (None, f"min-width:{least}px")
        kinds = [text.get("class") for text in chart.iter("text")]
        narrow, fine = kinds.count("day"), kinds.count("fine")
        assert (narrow + fine, narrow) == labels
        ends = [float((each.get("x") or "").rstrip("%")) for each in chart.iter("use")]
        assert all(0 <= end <= 100 for end in ends)


def test_size() -> None:
    """Ninety days of three streams, every four hours, make less than a megabyte."""
    found = [g for stream in ("campaigns", "users", "activities") for g in series(stream, 540)]
    page = make(generations=found)
    assert len(page.encode()) < 1_000_000
    assert page == make(generations=found)


@pytest.mark.parametrize(
    ("present", "lost"),
    [
        ([], []),
        ([0], []),
        ([0, 4], []),
        ([0, 4, 8, 12], []),
        ([0, 4, 12, 16], [8]),
        ([16, 4, 0, 4, 12], [8]),
        ([0, 4, 8, 24, 28], [12, 16, 20]),
        ([0, 24, 48, 96], [72]),
        ([0, 4, 8, 13.9, 18], []),
        ([0, 4, 8, 14.1, 18], [12]),
        ([0, 4, 900], []),
        ([0, 0.0001, 0.0002, 900], []),
    ],
)
def test_missing(present: list[float], lost: list[float]) -> None:
    """Generations at the usual interval are missing; a late one, or no cadence, is no alarm."""
    assert coverage.missing(times(*present)) == times(*lost)


@given(st.sets(st.integers(1, 58), max_size=19), st.integers(1, 48))
def test_missing_are_those_taken_away(taken: set[int], hours: int) -> None:
    """Of a regular series exactly those that were removed are missing, while most exist."""
    left = [n for n in range(60) if n not in taken]
    lost = coverage.missing(times(*(n * hours for n in left)))
    assert lost == times(*(n * hours for n in sorted(taken)))


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([READ, READ], READ),
        ([READ, PENDING], PARTLY),
        ([PARTLY, PENDING], PARTLY),
        ([READ, LEFT_OUT], LEFT_OUT),
        ([PENDING, LEFT_OUT], PENDING),
        ([None, None], None),
    ],
)
def test_generations(statuses: list[str | None], status: str | None) -> None:
    """Files of one generation are counted together; a sum is known if every part is."""
    stock = [
        Available(ExportFile("users", f"{n}", "a", "", NOON), each, 0, 5 * n, NOON + n * HOUR)
        for n, each in enumerate(statuses)
    ]
    rows = {entry.file.key: 7 for entry in stock}
    (found,) = coverage.generations(stock, rows)
    unread = sum(each not in {READ, LEFT_OUT} for each in statuses)
    assert found == Generation("users", NOON, 2, 5, 14, status, NOON, unread=unread)
    (found,) = coverage.generations(stock, {stock[0].file.key: 7})
    assert found.rows is None


def test_historical_files_have_no_cadence() -> None:
    """A historical file from long ago does not make any generation missing."""
    past = Generation("users", NOON - 4000 * HOUR, 1, 1, 1, READ, None, historical=True)
    page = make(generations=[past, *series("users", 20)])
    assert "missing" not in {row[1] for row in cells(page, "Generations of users")}


def acts(row: Mapping[str, str]) -> bool:
    """True unless an event does nothing but deliver something to its user."""
    counted = {name for name in ACTIONS | DELIVERIES if row[name] != "0"}
    return not counted or bool(counted & ACTIONS)


def figures(frames: Iterable[pl.DataFrame]) -> Figures:
    """The figures of activities alone."""
    return engagement.figures(("activities", frame) for frame in frames)


def test_engagement() -> None:
    """The sums of sample files, in any blocks, are those of a calculation by hand."""
    parts = [
        part
        for number in range(8)
        for part in sample_data.generation(3, number, NOON + 4 * number * HOUR, 200)["activities"]
    ]
    days: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in (row for part in parts for row in csv.DictReader(io.StringIO(part))):
        days[row["date"][:10]].append(row)
    expected = [
        Engagement(
            date.fromisoformat(day),
            len({row["user_id"] for row in rows if acts(row)}),
            len(rows),
            sum(int(row["impressions"]) for row in rows),
            sum(int(row["opens"]) for row in rows),
            sum(int(row["clicks"]) for row in rows),
            is_partial=True,
        )
        for day, rows in sorted(days.items())
    ]
    frames = [pl.read_csv(part.encode(), infer_schema=False) for part in parts]
    blocks = [block for frame in frames for block in frame.iter_slices(7)]
    found = figures(frames)
    assert found == figures(blocks)
    assert found.days == expected
    assert len(expected) == 2

    every = [row for rows in days.values() for row in rows]
    reached, acted = defaultdict(set), defaultdict(set)
    for row in every:
        if row["impressions"] != "0":
            reached[row["content_id"]].add(row["user_id"])
        if acts(row):
            acted[row["content_id"]].add(row["user_id"])
    order = sorted(
        {row["content_id"] for row in every}, key=lambda c: (-len(reached[c]), -len(acted[c]), c)
    )
    assert [row[1:4] for row in found.campaigns] == [
        (key, len(reached[key]), len(acted[key])) for key in order[:10]
    ]
    assert sum(events for _, events, _ in found.channels) == len(every)
    assert {name for name, *_ in found.channels} == {
        *("email", "push", "notification center", "feed", "other")
    }
    assert found.departments == [
        (
            "unknown",
            len({r["user_id"] for r in every}),
            len({r["user_id"] for r in every if acts(r)}),
        )
    ]


def test_departments() -> None:
    """A user counts for their newest department, whether or not they did anything."""
    users = pl.DataFrame(
        {"user_id": ["1", "2", "3", "1"], "attribute_department": ["A", "A", "", "B"]}
    )
    rows = {"user_id": ["1", "2", "4"], "likes": ["1", "0", "1"], "push_delivered": ["0", "1", "0"]}
    found = engagement.figures([("users", users), ("activities", pl.DataFrame(rows))])
    assert found.departments == [("unknown", 2, 1), ("A", 1, 0), ("B", 1, 1)]
    assert found.days == []


@pytest.mark.parametrize(
    ("times", "partial"),
    [
        (["14 12:00", "15 08:00"], [True, True]),
        (["14 00:30", "15 08:00"], [False, True]),
        (["14 00:30", "15 08:00", "16 23:10"], [False, False, False]),
        (["14 00:01", "14 22:59"], [True]),
        (["14 00:01", "14 23:59"], [False]),
        (["14", "15"], [True, True]),
    ],
)
def test_partial_days(times: list[str], partial: list[bool]) -> None:
    """The first and the last day are marked, unless they have events to their very ends."""
    frame = pl.DataFrame(
        {"date": [f"2026-05-{time}" for time in times], "opens": ["1"] * len(times)}
    )
    days = figures([frame])
    assert [day.is_partial for day in days.days] == partial
    page = make(engagement=days.days)
    assert ("A dashed bar" in page, page.count('class="bar part"') > 0) == (any(partial),) * 2


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"date": "2026-05-14 16:00:00"}, (14, 0, 1, 0)),
        ({"date": "2026-05-14T16:00:00.5Z", "user_id": ""}, (14, 0, 1, 0)),
        ({"date": "2026-05-14T23:30:00-01:00", "user_id": "7"}, (15, 1, 1, 0)),
        ({"date": "2026-05-14T00:30+05:30"}, (13, 0, 1, 0)),
        ({"date": "2026-05-14", "user_id": "7", "push_delivered": "1"}, (14, 0, 1, 0)),
        (
            {"date": "2026-05-14", "user_id": "7", "emails_delivered": "1", "likes": "1"},
            (14, 1, 1, 0),
        ),
        ({"date": "2026-05-14", "opens": " 3 "}, (14, 0, 1, 3)),
        ({"date": "2026-05-14", "opens": "2.0"}, (14, 0, 1, 2)),
        ({"date": "2026-05-14", "opens": "many"}, (14, 0, 1, 0)),
        ({"date": "2026-05-14", "opens": "nan"}, (14, 0, 1, 0)),
        ({"date": "2026-05-14", "opens": str(2**63 - 1)}, (14, 0, 1, 2**63 - 1)),
        ({"date": "yesterday", "opens": "1"}, None),
        ({"date": None, "opens": "1"}, None),
        ({"opens": "1"}, None),
    ],
)
def test_engagement_of_a_row(
    columns: dict[str, str | None], expected: tuple[int, int, int, int] | None
) -> None:
    """A row counts for its day in UTC; a missing value, or one that is not a number, is zero."""
    found = figures([pl.DataFrame({k: [v] for k, v in columns.items()})] * 2)
    assert [(e.day.day, e.people, e.events, e.opens) for e in found.days] == [
        (day, people, 2 * events, 2 * opens)
        for day, people, events, opens in ([expected] if expected else [])
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1500, "1.5k"), (999_999, "1M"), (2e9, "2G")]
)
def test_short(number: float, text: str) -> None:
    """Numbers beside charts have three digits."""
    assert short(number) == text


def _colours(scheme: int) -> dict[str, str]:
    """The colours of the light scheme (0) or the dark one (1)."""
    block = re.findall(r":root\{(.*?)\}", CSS, re.DOTALL)[scheme]
    return dict(re.findall(r"--(\w+):#(\w{6})", block))


def _light(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [(name, back, 4.5) for name in ("ink", "soft", "link") for back in ("page", "card")]
    + [
        (name, "card", 3)
        for name in ("read", "pending", "partly", "soon", "left", "missing", "unknown", "bar")
    ]
    + [("on", "soon", 4.5)],
)
def test_contrast(scheme: int, front: str, back: str, least: float) -> None:
    """Text and marks have the contrast that WCAG requires at AA, light and dark."""
    colours = _colours(scheme)
    low, high = sorted((_light(colours[front]), _light(colours[back])))
    assert (high + 0.05) / (low + 0.05) >= least
