"""The stream reader, and its offsets.

An offset is the stream's part of the tap's state, with the files that were read to reach it.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceStreamReader

from filetap.bookmark_checks import (
    check_account,
    warn_of_future,
    warn_of_gap,
    warn_of_longer_lookback,
)
from filetap.bookmark_state import write_bookmark
from filetap.errors import STATE_HINT, FileGoneError, StateError
from filetap.files import ExportFile
from filetap.plan import plan_files
from filetap.spark.tasks import TaskReader, brief, partitions_of
from filetap.times import format_time, parse_generation, utc_now

try:
    from pyspark.sql.streaming.datasource import (
        ReadAllAvailable,
        ReadMaxFiles,
        SupportsTriggerAvailableNow,
    )
except ImportError:  # before 4.2 Spark passes a source neither limits nor the trigger
    SupportsTriggerAvailableNow = object

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql.datasource import InputPartition

    from filetap.arrow import Reading, Source
    from filetap.files import Transport
    from filetap.plan import Plan

LIST_EVERY = 2.0  # seconds between two listings of a stream that never ends
_LISTED_FOR = 60.0  # seconds that a listing is relied on

logger = logging.getLogger(__name__)


class Listing:
    """The files of a stream, as listed not long ago.

    Args:
        source: What is read.

    Attributes:
        files: Every file that was listed.
        transport: Where they were listed.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = -_LISTED_FOR
        self.files: tuple[ExportFile, ...] = ()
        self.transport: Transport | None = None

    def refresh(self) -> Transport:
        """List the files unless that was done lately: what is planned must still be available.

        Raises:
            TransportError: They cannot be listed.
        """
        if self.transport is None or time.monotonic() - self._at > _LISTED_FOR:
            return self.renew()
        return self.transport

    def renew(self) -> Transport:
        """List the files, not more often than every few seconds.

        Raises:
            TransportError: They cannot be listed.
        """
        settings = self._source.settings
        time.sleep(max(0.0, self._at + LIST_EVERY - time.monotonic()))
        # A folder's transport lists once; another one lists again. The API's keeps its token.
        if self.transport is None or settings.delivered:
            self.transport = self._source.vendor.connect(settings)
        self.files = tuple(self.transport.list_files(self._source.stream))
        self._at = time.monotonic()
        return self.transport


class ExportStreamReader(TaskReader, DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads new files as they come, each once.

    Args:
        reading: How files are read.
        per_trigger: Files of a micro-batch, at most; None for any number.
    """

    def __init__(self, reading: Reading, per_trigger: int | None) -> None:
        super().__init__(reading)
        self._source = reading.source
        self._per_trigger = per_trigger
        self._listing = Listing(reading.source)
        self._at: dict[str, Any] = {}
        self._only: frozenset[str] | None = None

    @override
    def initialOffset(self) -> dict[str, Any]:
        return {}

    def getDefaultReadLimit(self) -> Any:  # noqa: N802 - Spark's name
        """How many files a micro-batch has: what Spark passes to `latestOffset`."""
        return ReadMaxFiles(self._per_trigger) if self._per_trigger else ReadAllAvailable()

    @brief()
    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
        """Read only the files that are available now.

        Raises:
            TransportError: They cannot be listed.
        """
        self._listing.renew()
        self._only = frozenset(file.id for file in self._listing.files)

    @override
    @brief()
    def latestOffset(
        self, start: dict[str, Any] | None = None, limit: Any = None
    ) -> dict[str, Any]:
        """The offset after the next micro-batch: *start* if there is nothing to read.

        Args:
            start: Where the last one ended; None before Spark 4.2, where `partitions` was passed
                it.
            limit: How many files to read; None before Spark 4.2, where the option counts.

        Raises:
            StateError: The offset belongs to another stream or account.
            TransportError: The files cannot be listed.
        """
        at = self._at if start is None else start
        most = self._per_trigger if limit is None else getattr(limit, "max_files", None)
        self._listing.refresh()
        plan = self._plan(at)
        if not plan.files and self._only is None:
            self._listing.renew()
            plan = self._plan(at)
        if not plan.files:
            return at
        warn_of_gap(plan, at, self._source.vendor, logger)
        warn_of_longer_lookback(plan, at, self._source.settings, logger)
        warn_of_future(plan.files[:most], plan.now, logger)
        return self._offset(plan, most)

    @override
    @brief()
    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        """The files between two successive offsets, wherever they are stored now.

        Files that were delivered again are left out, since their new version is still to come,
        and so are files that have expired and are older than ``start_date``.

        Raises:
            StateError: The offset belongs to another stream, account or source, or is none.
            FormatError: There are files of several accounts, and there was one at first.
            TransportError: The files cannot be listed.
        """
        self._at = end
        if start == end:
            return []
        transport = self._listing.refresh()
        self._check(end)
        self._reading.check_accounts(transport.accounts)
        listed = {file.id: file for file in self._listing.files}
        first = self._source.settings.start
        files = []
        for planned in self._planned(end):
            file = listed.get(planned.id, planned)
            if file.version != planned.version:
                logger.warning(
                    "%s: the file was replaced since it was planned; its new version is read in "
                    "the next micro-batch",
                    planned,
                )
            elif first and file.generated_at < first and _is_gone(transport, file):
                logger.warning(
                    "%s: the file has expired and is older than start_date; it is left out", file
                )
            else:
                files.append(file)
        return partitions_of(self._source, files)

    def _plan(self, at: Mapping[str, Any]) -> Plan:
        """What is still to be read after an offset."""
        self._check(at)
        source = self._source
        plan = plan_files(source.stream, self._listing.files, at, source.settings, now=utc_now())
        only = self._only
        files = (file for file in plan.files if only is None or file.id in only)
        return replace(plan, files=tuple(files))

    def _offset(self, plan: Plan, most: int | None) -> dict[str, Any]:
        """The offset after the first *most* files of a plan; None for all of them."""
        settings, chosen = self._source.settings, plan.files[:most]
        rest = plan.files[len(chosen) :]
        # A checkpoint is never merged with another state, which the mark is there for.
        bookmark = replace(plan.bookmark, from_scratch=False, unfinished=_cut(plan, chosen))
        for file in chosen:
            bookmark = bookmark.finish(file, settings.lookback, plan.now)
        account = self._listing.transport and self._listing.transport.account
        return {
            **write_bookmark(bookmark),
            "lookback_days": settings.lookback_days,
            **({} if rest else {"listed_on": plan.now.date().isoformat()}),
            **({"program_id": account} if account else {}),
            "stream": self._source.stream,
            "files": [_to_json(file) for file in chosen],
        }

    def _planned(self, offset: Mapping[str, Any]) -> list[ExportFile]:
        """The files that were read to reach an offset, as they were listed then.

        Raises:
            StateError: They cannot be read, or were listed in another source.
        """
        stream = self._source.stream
        try:
            planned = [_from_json(entry) for entry in offset["files"]]
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{stream}: the checkpoint cannot be read ({type(error).__name__})"
            raise StateError(msg, STATE_HINT) from None
        if any(bool(file.paths) != self._source.settings.delivered for file in planned):
            msg = f"{stream}: the files of this micro-batch were listed in another source"
            raise StateError(msg, "finish it with the options that it was started with")
        return planned

    def _check(self, at: Mapping[str, Any]) -> None:
        """Refuse to go on from an offset of something else.

        Raises:
            StateError: It belongs to another stream or account.
        """
        source, transport = self._source, self._listing.transport
        if at.get("stream", source.stream) != source.stream:
            msg = f"{source.stream}: the checkpoint belongs to the stream {at['stream']}"
            raise StateError(msg, "use one checkpoint per query")
        account = transport.account if transport else None
        check_account(source.stream, at, account, source.vendor.account)


def _cut(plan: Plan, chosen: Sequence[ExportFile]) -> frozenset[datetime]:
    """The generations of which some files are read, and others are left for later.

    Args:
        plan: What is still to be read.
        chosen: The files of it that are read now.
    """
    begun = plan.bookmark.unfinished | {file.generated_at for file in chosen}
    return begun & {file.generated_at for file in plan.files[len(chosen) :]}


def _is_gone(transport: Transport, file: ExportFile) -> bool:
    """True if a file that was listed can no longer be fetched."""
    try:
        transport.stored_size(file)
    except FileGoneError:
        return True
    return False


def _to_json(file: ExportFile) -> dict[str, Any]:
    """A file in an offset; checkpoints last, so names and order stay."""
    return {
        "stream": file.stream,
        "id": file.id,
        "file_name": file.file_name,
        "generation": file.generation,
        "generated_at": format_time(file.generated_at),
        "historical": file.historical,
        "version": file.version,
        "program": file.account,
        "paths": list(file.paths),
    }


def _from_json(entry: Mapping[str, Any]) -> ExportFile:
    """A file from an offset.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    return ExportFile(
        stream=entry["stream"],
        id=entry["id"],
        file_name=entry["file_name"],
        generation=entry["generation"],
        generated_at=parse_generation(entry["generated_at"]),
        historical=entry["historical"],
        version=entry["version"],
        account=entry["program"],
        paths=tuple(entry["paths"]),
    )
