"""Freshness: how old each stream's newest files are, and which are about to expire unread."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from filetap.people.examination import Finding
from filetap.people.inventory import GONE, LEFT_OUT, PARTLY, PENDING, READ, span_words
from filetap.people.report.generations import missing
from filetap.times import format_time, utc_now
from filetap.wording import counted

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from filetap.people.examination import Examination
    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap
    from filetap.vendor import Hints, StreamSpec

_SPAN: Final = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


class Span(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A span of time: ``12h``, ``3d``, ``90m``."""

    name = "span"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _SPAN.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a span like 12h, 3d or 90m")
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as late.

    Attributes:
        max_age: Age that a stream's newest generation may have; None for any.
        expires_within: Unread files may not expire within this time; None if they may.
    """

    max_age: timedelta | None = None
    expires_within: timedelta | None = None

    def __bool__(self) -> bool:
        """True if there is any limit."""
        return self.max_age is not None or self.expires_within is not None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh one stream is.

    Attributes:
        stream: The stream.
        files: Its files that are available.
        newest: The newest generation; None without files. Historical exports do not count.
        unread: Files that are not completely read; None if that is not known.
        expiring: Files, not known to be read, that expire within the limit, or within a day.
        missing: Generations that were due and are not available.
        problems: What is wrong, by the limits.
    """

    stream: str
    files: int
    newest: datetime | None
    unread: int | None
    expiring: int
    missing: int
    problems: tuple[str, ...]

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The object that ``doctor --output json`` has for the stream."""
        return {
            "files": self.files,
            "newest_generation": self.newest and format_time(self.newest),
            "age_seconds": self.newest and int((now - self.newest).total_seconds()),
            "unread": self.unread,
            "expiring_unread": self.expiring,
            "missing_generations": self.missing,
            "problems": list(self.problems),
        }


def freshness(
    stock: Iterable[Available],
    streams: Iterable[StreamSpec],
    limits: Limits,
    now: datetime,
    *,
    has_state: bool = True,
) -> list[Freshness]:
    """How fresh each stream is.

    Args:
        stock: The files that are listed.
        streams: The streams.
        limits: What counts as late.
        now: The time.
        has_state: False if no state was given, so that nobody knows what was read.
    """
    entries = [entry for entry in stock if entry.status != GONE]
    if not has_state:
        entries = [replace(entry, status=None) for entry in entries]
    return [
        _judged(
            spec,
            [e for e in entries if e.file.stream == spec.name],
            limits,
            now,
            has_state=has_state,
        )
        for spec in streams
    ]


def _judged(
    spec: StreamSpec,
    entries: Sequence[Available],
    limits: Limits,
    now: datetime,
    *,
    has_state: bool,
) -> Freshness:
    """How fresh a stream with these files is.

    Exports that are made on request have no cadence, and no run needs those that have expired.
    """
    stream = spec.name
    regular = [e for e in entries if not e.file.historical]
    newest = max((e.file.generated_at for e in regular), default=None)
    if spec.times:
        waiting = [e for e in entries if e.status in {PENDING, PARTLY}]
        is_known = has_state
    else:
        waiting = [e for e in entries if e.status not in {READ, LEFT_OUT}]
        is_known = all(e.status is not None for e in entries)
    soon = timedelta(days=1) if limits.expires_within is None else limits.expires_within
    ends = () if spec.times else waiting
    expiring = [e for e in ends if e.expires_at is not None and e.expires_at - now <= soon]
    due = [] if spec.times else [e for e in regular if e.status != LEFT_OUT]
    lost = missing([e.file.generated_at for e in due])
    problems = []
    if limits.max_age is not None:
        if newest is None:
            problems.append(f"{stream}: no file is available")
        elif now - newest > limits.max_age:
            age, most = span_words(now - newest), span_words(limits.max_age)
            problems.append(f"{stream}: the newest generation is {age} old, and {most} is allowed")
        if lost:
            generations = counted(len(lost), "generation")
            problems.append(
                f"{stream}: {generations} {_be(len(lost))} missing, the last one of "
                f"{lost[-1]:%Y-%m-%d %H:%M} UTC"
            )
    if limits.expires_within is not None and expiring:
        word = "is not read" if len(expiring) == 1 else "are not read"
        if not is_known:
            word = "may be unread, since no state was given"
        count, span = counted(len(expiring), "file"), span_words(soon)
        expire = "expires" if len(expiring) == 1 else "expire"
        problems.append(f"{stream}: {count} that {expire} within {span} {word}")
    return Freshness(
        stream,
        len(entries),
        newest,
        len(waiting) if is_known else None,
        len(expiring),
        len(lost),
        tuple(problems),
    )


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def expected_streams(
    tap: FileTap, stock: Iterable[Available], chosen: Collection[str]
) -> list[StreamSpec]:
    """The streams that should have files.

    Args:
        tap: The tap.
        stock: The available files.
        chosen: Names that were given; empty for none.

    Returns:
        Those that were given, otherwise all; of a vendor who exports what each customer chooses,
        those that have files or were read before, if there are any.
    """
    if chosen:
        return [tap.specs[name] for name in chosen]
    every = list(tap.specs.values())
    if tap.vendor.newest is None:
        return every
    seen = {*(entry.file.stream for entry in stock), *tap.state.get("bookmarks", {})}
    return [spec for spec in every if spec.name in seen] or every


def check_freshness(examination: Examination, limits: Limits, streams: Collection[str]) -> Finding:
    """Compare each stream's files with the limits; a step that comes last."""
    tap, now = examination.tap, utc_now()
    expected = expected_streams(tap, examination.stock, streams)
    has_state = examination.has_state
    found = freshness(examination.stock, expected, limits, now, has_state=has_state)
    if problems := [problem for each in found for problem in each.problems]:
        return Finding(
            "; ".join(problems), _hint(found, limits, now, tap.vendor.hints), failed=True
        )
    ages = (f"{e.stream} {span_words(now - e.newest)}" for e in found if e.newest)
    return Finding(", ".join(ages) or "no limit is exceeded")


def _hint(found: Iterable[Freshness], limits: Limits, now: datetime, hints: Hints) -> str:
    """What to do about problems."""
    advice = []
    for each in found:
        if limits.max_age is not None:
            is_late = each.newest is not None and now - each.newest > limits.max_age
            advice += [hints.empty] if each.newest is None else []
            advice += [hints.old] if is_late else []
            advice += [hints.gap] if each.missing else []
        if limits.expires_within is not None and each.expiring:
            advice.append("run the pipeline before they expire")
    return "; ".join(dict.fromkeys(advice))


def limit_options() -> list[click.Parameter]:
    """The options of `Limits`."""
    return [
        click.Option(
            ["--max-age"],
            type=Span(),
            help="Fail if a stream's newest generation is older (12h, 3d), or one is missing.",
        ),
        click.Option(
            ["--expires-within"],
            type=Span(),
            help="Fail if files that are not read expire within this time (24h).",
        ),
    ]
