"""What a listing adds to a bookmark: files that count as read, and the names of those cut off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.bookmark import UNKNOWN, Bookmark, PartlyRead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from filetap.files import ExportFile

_OLD_VERSIONS = 1000  # versions remembered of listed files older than the lookback


def reconcile(bookmark: Bookmark, files: Iterable[ExportFile]) -> Bookmark:
    """Learn from the list what the state does not say.

    There are three cases. A state without a list of files: everything listed up to its bookmark
    is finished. A state from the other source (the API, and a folder is listed now, or the other
    way round): files of a generation that was read there count as finished, but only those listed
    the first time that generation is seen here; a partly read file is continued. A state without
    times: they are taken from the listing.
    """
    files = list(files)
    listed = {file.key: file.generated_at for file in files}
    if bookmark.closed_at is not None:
        done = [file for file in files if file.generated_at <= bookmark.closed_at]
        return replace(
            bookmark,
            finished={file.key: file.generated_at for file in done},
            closed_at=None,
            owners={file.key: file.account for file in done if file.account},
            historical=frozenset(file.key for file in done if file.historical),
            versions={file.key: file.version for file in done if file.version},
        )
    finished = {
        key: listed.get(key, moment) if moment == UNKNOWN else moment
        for key, moment in bookmark.finished.items()
    }
    past = bookmark.historical | {f.key for f in files if f.historical and f.key in finished}
    known = replace(bookmark, finished=finished, historical=past)
    counted = _read_elsewhere(known, files)
    versions = {file.key: file.version for file in counted if file.version}
    return replace(
        known,
        finished=finished | {file.key: file.generated_at for file in counted},
        partly_read=_continued(known, files),
        versions=_listed_versions(known, files) | versions,
        counted=bookmark.counted | {file.key for file in counted},
        owners={**bookmark.owners, **{file.key: file.account for file in counted if file.account}},
    )


def _read_elsewhere(bookmark: Bookmark, files: Iterable[ExportFile]) -> list[ExportFile]:
    """The files of generations that were read from another source, all of them and to their ends.

    Only delivered files have versions. A generation that has a file of this source already
    was seen here before: another file of it is a new one. Another account's is another one, too.
    """
    # By source and generation: the accounts whose files were read there, and seen there.
    read: dict[tuple[bool, datetime], set[str]] = {}
    seen: dict[tuple[bool, datetime], set[str]] = {}
    for key, moment in bookmark.finished.items():
        place = (key in bookmark.versions, moment)
        owner = bookmark.owners.get(key, "")
        seen.setdefault(place, set()).add(owner)
        if key not in bookmark.counted and key not in bookmark.historical:
            read.setdefault(place, set()).add(owner)
    in_part = {part.key for part in bookmark.partly_read}
    unfinished = bookmark.unfinished | {part.generated_at for part in bookmark.partly_read}
    return [
        file
        for file in files
        if not file.historical
        and file.key not in bookmark.finished
        and file.key not in in_part
        and file.generated_at not in unfinished
        and _may_own(read.get((not file.version, file.generated_at)), file.account)
        and not _may_own(seen.get((bool(file.version), file.generated_at)), file.account)
    ]


def _may_own(owners: AbstractSet[str] | None, account: str) -> bool:
    """True if files of these accounts may be the account's; an empty name is not known."""
    return owners is not None and (not account or not owners.isdisjoint({"", account}))


def _continued(bookmark: Bookmark, files: Sequence[ExportFile]) -> tuple[PartlyRead, ...]:
    """The files that were cut off, each by the name that it has in this source now.

    One whose generation has several files, here or there, is left out: which rows of them were
    emitted is not known.
    """
    listed = {file.key for file in files}
    parts = []
    for part in bookmark.partly_read:
        delivered = part.key in bookmark.versions
        same = [
            file.key
            for file in files
            if file.generated_at == part.generated_at
            and not file.historical
            and file.key not in bookmark.finished
            and bool(file.version) != delivered
        ]
        alone = part.generated_at not in bookmark.unfinished and all(
            moment != part.generated_at or (key in bookmark.versions) != delivered
            for key, moment in bookmark.finished.items()
        )
        if part.key in listed or not same:
            parts.append(part)
        elif len(same) == 1 and alone:
            parts.append(replace(part, key=same[0], content=""))
    return tuple(parts)


def _listed_versions(bookmark: Bookmark, files: Sequence[ExportFile]) -> dict[str, str]:
    """The versions that are still of use: of finished files, and of some listed ones.

    A listed file that is older than the lookback is in no list of finished files, but it
    may be delivered again.
    """
    newest = sorted(files, key=lambda file: file.generated_at)[-_OLD_VERSIONS:]
    useful = {
        *bookmark.finished,
        *(part.key for part in bookmark.partly_read),
        *(file.key for file in newest),
    }
    return {key: version for key, version in bookmark.versions.items() if key in useful}
