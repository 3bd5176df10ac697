"""Which files of a stream a run reads: they are listed, chosen, and put in order."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from filetap.plan import in_order, listed_since, plan_files, waiting_for
from filetap.times import utc_now

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from filetap.bookmark import Bookmark
    from filetap.files import ExportFile
    from filetap.plan import Plan
    from filetap.run import Run
    from filetap.vendor import StreamSpec


class Listing:
    """The available files of a stream, listed once; where they are listed by date, the recent ones.

    Args:
        run: What all streams share.
        spec: The stream.
        state: The stream's part of the state, which decides since when files are listed.
        logger: Receives a line about each file that was touched without change.
        incremental: False to read everything again, whatever the state says.
    """

    def __init__(
        self,
        run: Run,
        spec: StreamSpec,
        state: Mapping[str, Any],
        logger: logging.Logger,
        *,
        incremental: bool,
    ) -> None:
        """List the files.

        Raises:
            StateError: The state cannot be read.
            TransportError: The listing failed.
        """
        self._run, self._spec, self._log = run, spec, logger
        self._incremental = incremental
        self._now = utc_now()
        newest = run.vendor.newest
        by_date = newest is not None and incremental
        since = listed_since(spec.name, state, run.settings, self._now) if by_date else None
        self._files = tuple(run.transport.list_files(spec.name, since))
        self._newest = newest and newest(run.transport)
        self._contents: dict[ExportFile, str] = {}

    def plan(self, state: Mapping[str, Any]) -> Plan:
        """Choose the files to read.

        Args:
            state: The stream's part of the state, which may have moved since they were listed.

        Raises:
            ExportError: The state cannot be read, or a file that was touched not be downloaded.
        """
        run, spec = self._run, self._spec
        plan = plan_files(
            spec.name,
            self._files,
            state,
            run.settings,
            now=self._now,
            incremental=self._incremental,
        )
        if self._incremental:
            if spec.ordered:
                copies = [file for file in plan.files if self._is_copy(file, plan.bookmark)]
                plan = in_order(plan, copies, run.settings)
            # A file that is settled too late for the lookback would never be read.
            lead = timedelta() if spec.ordered else run.settings.lookback
            plan = waiting_for(plan, run.vendor.unsettled(run.transport, spec.name), lead)
        if self._newest:
            plan = replace(plan, newest=self._newest, bookmark=plan.bookmark.forget_versions())
        return plan

    def _is_copy(self, file: ExportFile, bookmark: Bookmark) -> bool:
        """True if a finished file was touched, but still has the content that was read."""
        if file.key not in bookmark.finished or not bookmark.has_changed(file):
            return False
        if file not in self._contents:
            with closing(self._run.spool.download(self._run.transport, file)) as spooled:
                self._contents[file] = spooled.content
            if bookmark.has_same_content(file, self._contents[file]):
                self._log.info("%s: the file was touched, but its content is read already", file)
        return bookmark.has_same_content(file, self._contents[file])
