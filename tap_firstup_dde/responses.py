"""The contents of the API's responses; undocumented members are ignored."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filetap.checksum import Checksum
from filetap.errors import FormatError, TransportError
from filetap.files import ExportFile
from filetap.redaction import printable
from filetap.times import parse_generation
from filetap.transports.http import is_secure, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)

SHAPE_HINT = "report it: the response differs from the documented one"
_URL_LIFETIME = 900.0  # seconds; "typically", says the documentation
_TOTAL = re.compile(r"total_?(?:count|files|items|results|entries|records|elements|pages)?")


@dataclass(frozen=True, slots=True)
class Signed:
    """A presigned URL, and the promised size and checksum of its file.

    Attributes:
        url: Its query is a credential.
        lifetime: Seconds until it expires.
        size: Bytes as stored; None if not stated.
        checksum: Of the stored bytes; None if not stated.
    """

    url: str
    lifetime: float
    size: int | None
    checksum: Checksum | None


def listed_files(
    content: Mapping[str, Any], stream: str, what: str, *, empty: bool
) -> list[ExportFile]:
    """The files in a response of the list endpoint: ``{"data": {"files": […]}}``.

    Args:
        content: The response.
        stream: Stream whose files they are.
        what: The list, as messages name it.
        empty: True if a response without a list means that there are no files.

    Raises:
        FormatError: The response has another shape.
    """
    data = content.get("data")
    files = data.get("files") if isinstance(data, dict) else data
    if empty and not files and (not content or "data" in content):
        return []
    if not isinstance(files, list):
        msg = f"{what}: the response holds no list of files"
        raise FormatError(msg, SHAPE_HINT)
    return [_listed(stream, item) for item in files]


def _listed(stream: str, item: Any) -> ExportFile:
    """One entry of a list.

    Raises:
        FormatError: The entry has no id, or no valid time.
    """
    if not isinstance(item, dict) or not item.get("id"):
        msg = f"the list of {stream} files: an entry has no id"
        raise FormatError(msg, SHAPE_HINT)
    name = str(item.get("file_name") or "")
    try:
        f"{item['id']}{name}{item.get('generated_at')}".encode()
    except UnicodeEncodeError:
        msg = f"the list of {stream} files: an entry is not Unicode text"
        raise FormatError(msg, SHAPE_HINT) from None
    generation = item.get("generated_at")
    try:
        moment = parse_generation(generation if isinstance(generation, str) else "")
    except (ValueError, OverflowError):
        msg = f"{stream} file {name}: generated_at {generation!r} is not YYYY-MM-DD-HH"
        raise FormatError(msg, SHAPE_HINT) from None
    return ExportFile(stream, str(item["id"]), name, str(generation), moment)


def next_link(
    content: Mapping[str, Any], headers: Sequence[str], *, pages: int, files: int, what: str
) -> str:
    """The link to the list's next page in a response; empty at the end.

    Firstup documents no paging for this list, but a general ``meta`` block. So a link is followed,
    and any other sign of further pages is an error: an incomplete list would lose files.

    Args:
        content: The response.
        headers: Links to the next page in its headers.
        pages: Pages so far.
        files: Files so far.
        what: The list, as messages name it.

    Raises:
        TransportError: There are further pages, but no usable link to them.
    """
    links = [*headers]
    for path, value in _scalars(content):
        words = path.lower().replace("-", "_")
        name = words.rpartition(".")[2]
        if "next" in words and value:
            links.append(str(value))
        elif _is_more(name, value, pages if "page" in name else files):
            links.append("")
    if not links:
        return ""
    usable = [link for link in links if link.startswith(("http://", "https://", "/", "?"))]
    if not usable:
        msg = f"{what}: it has more pages, but no usable link to them"
        raise TransportError(msg, SHAPE_HINT)
    return usable[0]


def _is_more(name: str, value: Any, so_far: int) -> bool:
    """True if a member announces more pages: by its name, or as a total above *so_far*."""
    if _TOTAL.fullmatch(name):
        return isinstance(value, int) and value > so_far
    return "more" in name and value is True


def _scalars(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value in JSON outside lists that is not an object, with its dotted path."""
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:  # not recursive: a server may nest values more deeply than Python can call
        path, value = waiting.pop()
        if isinstance(value, dict):
            inner = [(f"{path}.{name}" if path else str(name), v) for name, v in value.items()]
            waiting += reversed(inner)
        elif not isinstance(value, list):
            yield path, value


def signed_file(content: Mapping[str, Any], file: ExportFile, api_url: str) -> Signed:
    """The presigned URL, size and checksum in a response of the file endpoint about *file*.

    Raises:
        FormatError: The response has another shape, or is about several files or a different one.
        TransportError: The download would not be encrypted.
    """
    data = content.get("data")
    entries = data if isinstance(data, list) else [data]
    if len(entries) > 1:
        entries = [e for e in entries if isinstance(e, dict) and e.get("id") == file.id]
    entry = entries[0] if len(entries) == 1 else None
    if not isinstance(entry, dict):
        msg = f"{file}: the response does not describe one file"
        raise FormatError(msg, SHAPE_HINT)
    if not _is_about(entry, file):
        msg = f"{file}: the response is about another file"
        raise FormatError(msg, "run again; if it persists, report it to Firstup")
    url = entry.get("presigned_url")
    if not isinstance(url, str) or not url:
        msg = f"{file}: the response holds no presigned_url"
        raise FormatError(msg, SHAPE_HINT)
    # An API on https has no reason to refer anyone to http on this machine.
    if not is_secure(url) or not target_of(api_url, url):
        msg = f"{file}: the download URL is not https"
        raise TransportError(msg, "report it to Firstup; nothing was downloaded")
    value = entry.get("checksum")
    lifetime = entry.get("presigned_url_ttl_seconds")
    return Signed(
        url=url,
        lifetime=min(lifetime, 86_400) if isinstance(lifetime, int | float) else _URL_LIFETIME,
        size=_size(entry.get("size_bytes"), file),
        checksum=Checksum(str(entry.get("checksum_function")), value)
        if isinstance(value, str) and value
        else None,
    )


def _size(stated: object, file: ExportFile) -> int | None:
    """Bytes of a file as stored; None if the response states none, or no possible number."""
    text = "" if stated is None else str(stated)[:20]
    if text.isdecimal():
        return int(text)
    if text:
        logger.warning("%s: size_bytes is %s, so the size is not checked", file, printable(text))
    return None


def _is_about(entry: Mapping[str, Any], file: ExportFile) -> bool:
    """False if the entry states a name or a time other than the file's."""
    name, generation = (str(entry.get(key) or "") for key in ("file_name", "generated_at"))
    if name and file.file_name and name != file.file_name:
        return False
    if generation in {"", file.generation}:
        return True
    try:
        return parse_generation(generation) == file.generated_at
    except (ValueError, OverflowError):
        return False
