"""What may be wrong between the settings and typed rows, found step by step."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click
import yaml

from filetap.bookmark import Bookmark
from filetap.columns.resolve import Sources, pinned_types
from filetap.columns.sample import look_into
from filetap.errors import ExportError, FileGoneError, StateError
from filetap.people.inventory import (
    GONE,
    PARTLY,
    PENDING,
    Limits,
    size_words,
    take_stock,
    utc_now,
    weigh,
)
from filetap.read.batch import ReadOptions
from filetap.read.names import column_names
from filetap.redaction import SECRECY
from filetap.settings import SETTINGS
from filetap.transports.connection import bare_session
from filetap.transports.http import http_date, send
from filetap.wording import counted
from tap_firstup_dde.api import GONE_HINT, FirstupTransport
from tap_firstup_dde.vendor import ADDED, DOCUMENTED, KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.people.inventory import Available
    from tap_firstup_dde.tap import TapFirstupDDE

MARKS: Final = {  # the second one where the first cannot be shown
    "ok": ("✓", "+", "green"),
    "doubtful": ("!", "!", "yellow"),
    "skipped": ("-", "-", "dim"),
    "failed": ("✗", "x", "bold red"),
}
_SKEW = timedelta(minutes=5)  # a token, or a presigned URL, may seem to live longer than it does
_ODD_SHAPES = (KeyError, TypeError, AttributeError)
_ROOM = 1 << 30  # bytes; a download and the next one
_OLD = timedelta(days=2)  # Firstup generates files every few hours, or once a day


@dataclass(frozen=True, slots=True)
class Check:
    """A step, and how it went.

    Attributes:
        name: What was checked.
        outcome: ``ok``, ``doubtful`` (it works, but look at it), ``skipped`` or ``failed``.
        seconds: How long it took.
        detail: What was found.
        hint: What to do; empty when there is nothing to do.
    """

    name: str
    outcome: str
    seconds: float
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a step found.

    Attributes:
        detail: In words.
        hint: What to do about it; the step is doubtful then.
        skipped: Whether there was nothing to check.
    """

    detail: str
    hint: str = ""
    skipped: bool = False


@dataclass
class Examination:
    """The steps, and what is known so far; each step adds to it.

    Attributes:
        open_tap: Reads and checks the settings; its errors are those of the first step.
        has_state: Whether the tap that it opens has a state.
        config: The settings, once they are read.
        skew: How much the API's clock is ahead of this one; None while that is not known.
        stock: The available files.
        spooled: The newest file of each stream, once it is here.
    """

    open_tap: Callable[[], TapFirstupDDE]
    has_state: bool
    config: dict[str, Any] = field(default_factory=dict)
    skew: timedelta | None = None
    stock: list[Available] = field(default_factory=list)
    spooled: dict[str, Spooled] = field(default_factory=dict)

    def checks(self) -> Iterator[Check]:
        """Every step up to the first that fails."""
        steps = (
            ("settings", self._settings),
            ("host", self._host),
            ("clock", self._clock),
            ("token", self._token),
            ("scope and lists", self._lists),
            ("program", self._program),
            ("pending", self._pending),
            ("presigned URL", self._link),
            ("spool space", self._spool),
            ("checksum", self._download),
            ("rows", self._rows),
            ("columns", self._columns),
            ("types", self._types),
            ("meltano.yml", self._project),
        )
        with closing(self):
            for name, step in steps:
                started = time.monotonic()
                try:
                    found = step()
                except ExportError as error:
                    detail, hint, outcome = error.message, error.hint, "failed"
                except click.ClickException as error:
                    detail, _, hint = error.format_message().partition("; ")
                    outcome = "failed"
                else:
                    detail, hint = found.detail, found.hint
                    outcome = "skipped" if found.skipped else "doubtful" if hint else "ok"
                seconds = time.monotonic() - started
                yield Check(name, outcome, seconds, SECRECY.scrub(detail), SECRECY.scrub(hint))
                if outcome == "failed":
                    return

    def _settings(self) -> _Finding:
        """Read the settings, and connect."""
        self.tap = self.open_tap()
        self.config = dict(self.tap.config)
        self.transport = self.tap.transport
        if not isinstance(self.transport, FirstupTransport):
            return _Finding("complete; delivered files are read, not the API")
        with_token = "a ready token" if self.config.get("access_token") else "client credentials"
        region = self.config.get("region")
        return _Finding(f"complete; {with_token}, region {region}, {self.transport.hosts[0]}")

    def _host(self) -> _Finding:
        """Reach the API's and the authorisation server's host."""
        if not isinstance(self.transport, FirstupTransport):
            return _Finding("a folder has none that is asked", skipped=True)
        told = []
        for url in dict.fromkeys(self.transport.hosts):
            with bare_session() as session:
                before = utc_now()
                timeout = float(self.config["request_timeout"])
                answer = send(session, "GET", url, f"the host of {url}", timeout=timeout)
                self._read_clock(answer.headers.get("Date"), before)
            told.append(urlsplit(url).hostname or url)
        return _Finding(f"{' and '.join(dict.fromkeys(told))} can be reached")

    def _read_clock(self, date: str | None, before: datetime) -> None:
        if there := http_date(date or ""):
            self.skew = there - before

    def _clock(self) -> _Finding:
        """Compare the clocks."""
        if self.skew is None:
            return _Finding("nobody told the time", skipped=True)
        seconds = abs(self.skew.total_seconds())
        told = f"this machine's clock and Firstup's are {seconds:.0f} s apart"
        return _Finding(told, "set this machine's clock" if abs(self.skew) > _SKEW else "")

    def _token(self) -> _Finding:
        """Have a token."""
        if not isinstance(self.transport, FirstupTransport):
            return _Finding("a folder needs none of Firstup's", skipped=True)
        self.transport.authorise()
        given = bool(self.config.get("access_token"))
        return _Finding("taken from the settings" if given else "issued for the client")

    def _lists(self) -> _Finding:
        """List each type; a missing scope shows here."""
        limits = Limits.of(self.config)
        state = self.tap.state if self.has_state else None
        self.stock = take_stock(self.transport, KEYS, state, limits, sizes=False)
        counts = Counter(entry.file.stream for entry in self.stock)
        told = ", ".join(f"{counts[stream]} {stream}" for stream in KEYS) + " files"
        if not self.stock:
            hint = (
                "in Creator Studio, Configure > Insights > Recurring Data Connections must be set "
                "up; files appear after the first scheduled run that has data"
            )
            if isinstance(self.transport, FirstupTransport) and not self.transport.program_id:
                hint = f"check api_url and region: no answer says whose program it is; or {hint}"
            return _Finding(told, hint)
        newest = max(entry.file.generated_at for entry in self.stock)
        told += f", the newest of {newest.isoformat(' ', 'minutes')[:16]} UTC"
        old = utc_now() - newest > _OLD and not limits.keeps
        return _Finding(told, "see in Creator Studio whether exports still run" if old else "")

    def _program(self) -> _Finding:
        """See whose files they are, and whose state it is."""
        now = self.transport.program_id
        held = self.tap.state.get("bookmarks", {}) if self.has_state else {}
        for stream, bookmark in held.items():
            before = bookmark.get("program_id")
            if now and before and str(before) != now:
                message = f"{stream}: the state is of program {before}, what is read now of {now}"
                raise StateError(message, "use one state per program, or start without a state")
        programs = ", ".join(sorted(self.transport.programs))
        return _Finding(programs, "") if programs else _Finding("not told", skipped=True)

    def _pending(self) -> _Finding:
        """See what the next run reads."""
        if not self.has_state:
            return _Finding("no --state was given, so what is new is not known", skipped=True)
        statuses = Counter(entry.status for entry in self.stock)
        waiting = statuses[PENDING] + statuses[PARTLY]
        be = "is" if waiting == 1 else "are"
        return _Finding(f"{counted(waiting, 'file')} {be} to be read, of {len(self.stock)}")

    def _newest(self) -> list[ExportFile]:
        """The newest file of each stream that has any."""
        newest: dict[str, ExportFile] = {}
        for entry in self.stock:  # in order of generation
            if entry.status != GONE:
                newest[entry.file.stream] = entry.file
        return list(newest.values())

    def _link(self) -> _Finding:
        """Ask for presigned URLs."""
        if not self.stock:
            return _Finding("no file", skipped=True)
        limits = Limits.of(self.config)
        self.stock = weigh(self.transport, self.stock)
        gone = [entry.file for entry in self.stock if entry.status == GONE]
        held = self.tap.state.get("bookmarks", {}) if self.has_state else {}
        for file in gone:
            bookmark = Bookmark.from_state(held.get(file.stream, {}), utc_now())
            if bookmark.pending([file], limits.lookback, limits.start):
                message = f"{file}: the file expired between list and download"
                raise FileGoneError(message, GONE_HINT)
        size = sum(entry.size or 0 for entry in self.stock)
        there = counted(len(self.stock) - len(gone), "file")
        return _Finding(f"{there} can be fetched, {size_words(size)}")

    def _spool(self) -> _Finding:
        """See whether downloads find room."""
        folder = self.config.get("spool_dir") or tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        told = f"{size_words(free)} are free where downloads are kept"
        return _Finding(told, "set spool_dir to a larger disk" if free < _ROOM else "")

    def _download(self) -> _Finding:
        """Download the newest files and prove them."""
        for file in self._newest():
            self.spooled[file.stream] = self.tap.spool.download(self.transport, file)
        if not self.spooled:
            return _Finding("no file", skipped=True)
        size = size_words(sum(spooled.size for spooled in self.spooled.values()))
        return _Finding(
            f"{counted(len(self.spooled), 'file')}, {size}; length and checksum as promised"
        )

    def _rows(self) -> _Finding:
        """Decompress and read them."""
        told = []
        divert = self.config["malformed_rows"] == "divert"
        for stream, spooled in self.spooled.items():
            reader = spooled.reader(ReadOptions(ADDED, DOCUMENTED[stream].columns, divert=divert))
            count = sum(batch.frame.height for batch in reader)
            told.append(f"{count} {stream}")
        return _Finding(", ".join(told)) if told else _Finding("no file", skipped=True)

    def _columns(self) -> _Finding:
        """Hold their header rows against the documented columns."""
        told = []
        for stream, spooled in self.spooled.items():
            documented = set(DOCUMENTED[stream].columns)
            names = set(spooled.reader(ReadOptions(ADDED, documented)).columns)
            if not names:
                continue
            told.append(f"{stream} {len(names & documented)} of {len(documented)} documented")
            if added := sorted(names - documented):
                shown = ", ".join(islice(added, 5)) + (", …" if len(added) > 5 else "")
                told[-1] += f" and {len(added)} more ({shown})"
        return _Finding("; ".join(told)) if told else _Finding("no column", skipped=True)

    def _types(self) -> _Finding:
        """See which types they would get."""
        told, doubts = [], []
        for stream, spooled in self.spooled.items():
            state = self.tap.state.get("bookmarks", {}).get(stream, {}) if self.has_state else {}
            labels = (self.config.get("column_types") or {}).get(stream, {})
            overrides = {column_names([label])[0]: kind for label, kind in labels.items()}
            sources = Sources(stream, overrides, pinned_types(state, stream), {}, KEYS[stream])
            types, warnings = sources.types(look_into(spooled, sources.known))
            counts = Counter(types.values())
            told.append(f"{stream} " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common()))
            doubts += [f"{stream}: {warning}" for warning in warnings]
        if not told:
            return _Finding("no file", skipped=True)
        return _Finding("; ".join(told), "; ".join(doubts))

    def _project(self) -> _Finding:
        """Look at the loaders' settings."""
        path = Path("meltano.yml")
        if not path.is_file():
            return _Finding("no meltano.yml here", skipped=True)
        try:
            plugins = yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]
            doubts = [*_extractor_doubts(plugins), *_loader_doubts(plugins)]
        except (OSError, ValueError, RecursionError, yaml.YAMLError, *_ODD_SHAPES):
            return _Finding("it cannot be read", "check meltano.yml")
        told = "the settings of loaders cost neither speed nor data"
        return _Finding("some settings cost speed or data" if doubts else told, "; ".join(doubts))

    def close(self) -> None:
        """Give the disk space back."""
        for spooled in self.spooled.values():
            spooled.close()


def _named(plugins: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and settings of the plugins of one kind, defaults included."""
    for plugin in plugins.get(kind) or []:
        defaults = {s["name"]: s["value"] for s in plugin.get("settings") or [] if "value" in s}
        yield plugin["name"], {**defaults, **(plugin.get("config") or {})}


def _loader_doubts(plugins: Any) -> Iterator[str]:
    """Which loader settings cost speed or data, by what was measured of them."""
    for name, config in _named(plugins, "loaders"):
        if name.startswith("target-postgres"):
            if config.get("validate_records", True):
                yield f"{name}: validate_records: false is faster; values have their types"
            if not config.get("use_copy"):
                yield f"{name}: use_copy: true is faster, and writes times in UTC"
        if name.startswith("target-snowflake") and config.get("load_method") == "overwrite":
            yield f"{name}: load_method: overwrite deletes what Firstup no longer keeps"
    for plugin in plugins.get("loaders") or []:
        pins = str(plugin.get("pip_url", ""))
        if "target-duckdb" in pins and "duckdb==1.0.0" not in pins:
            yield f"{plugin['name']}: pin duckdb==1.0.0; with a newer one it loses rows"


def _extractor_doubts(plugins: Any) -> Iterator[str]:
    """What an extractor's block says that costs something."""
    for plugin in plugins.get("extractors") or []:
        ours = str(plugin.get("executable") or plugin["name"]).startswith("tap-firstup-dde")
        if not ours or plugin.get("inherit_from"):
            continue
        if plugin.get("use_cached_catalog", True):
            told = "use_cached_catalog: false lets select see columns that are new"
            yield f"{plugin['name']}: {told}; a cached catalog cannot deselect them"
        if "batch" not in (plugin.get("capabilities") or ["batch"]):
            yield f"{plugin['name']}: without the capability batch, batch_config has no effect"


def support_bundle(checks: Sequence[Check], config: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody who helps wants to know; no secret, no row.

    Args:
        checks: What an examination found.
        config: The settings.
    """
    packages = ("tap-firstup-dde", "singer-sdk", "polars", "awscrt", "requests", "fsspec")
    known = SETTINGS["properties"]
    plain = {name: value for name, value in config.items() if name in known}
    # Options of file systems and maps may hold anything.
    for name in (
        n for n, value in plain.items() if known[n].get("secret") or isinstance(value, dict)
    ):
        plain[name] = "***"
    for name, value in plain.items():
        # A secret may be set under a wrong name, too.
        plain[name] = SECRECY.scrub(value) if isinstance(value, str) else value
    return {
        "made_at": utc_now().isoformat(timespec="seconds"),
        "python": sys.version,
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
        "settings": plain,
        "checks": [asdict(check) for check in checks],
    }
