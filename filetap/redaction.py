"""Redacts secrets from every log record, whichever library logs it, at any level."""

from __future__ import annotations

import html
import json
import logging
import re
import sys
import traceback
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST = 5  # characters; anything shorter is part of many words
# A presigned URL's query is a credential; libraries log paths with queries, too.
_QUERY = re.compile(r"\?[^\s'\"<>)]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]+")


class Secrecy(logging.Filter):
    """Redacts secrets, tokens and URL queries in log records and their tracebacks.

    Control characters are replaced too: servers choose parts of messages.
    """

    def __init__(self) -> None:
        super().__init__()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def guard(self, values: Any) -> None:
        """Redact every text within *values*, which may be nested, from now on.

        Filters the existing handlers: a logger's filter does not see its children's records.
        """
        forms = self._forms.union(*(_forms(text) for text in _texts(values)))
        if forms != self._forms:
            self._forms, self._pattern = forms, None
        # `logging.lastResort` handles records when no handler is configured.
        for handler in (*logging.getLogger().handlers, logging.lastResort):
            if handler:
                handler.addFilter(self)

    def scrub(self, text: str) -> str:
        """*text* without secrets, tokens and URL queries."""
        if self._forms and self._pattern is None:
            # Compiled only here: a process that runs for months gets many tokens, and logs little.
            ordered = sorted(self._forms, key=len, reverse=True)
            # Host names come back in lower case, percent-encoding in either.
            self._pattern = re.compile("|".join(map(re.escape, ordered)), re.IGNORECASE)
        if self._pattern:
            text = self._pattern.sub("***", text)
        return _BEARER.sub(r"\1 ***", _QUERY.sub("?…", text))

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            # An argument must not break a message into several lines.
            record.args = tuple(
                printable(self.scrub(value)) if isinstance(value, str) else value
                for value in record.args
            )
        record.msg, record.args = _harmless(self.scrub(record.getMessage())), None
        if record.exc_info and record.exc_info[0]:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            # Part of the message: a structured log would show the exception's own text.
            record.msg += "\n" + _harmless(self.scrub(text))
            record.exc_info = None
        return True


def printable(text: str) -> str:
    """*text* on one line, without control characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _harmless(text: str) -> str:
    """*text* without control characters, its lines preserved."""
    return "\n".join(map(printable, text.expandtabs().split("\n")))


SECRECY = Secrecy()


def _texts(value: Any) -> Iterator[str]:
    """Every text in JSON-like values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _forms(secret: str) -> Iterator[str]:
    """Every form in which a secret may come back: by lines, and as JSON, URLs and `repr` spell it.

    Forms that are too short are omitted.
    """
    for part in {secret, secret.strip(), *map(str.strip, secret.splitlines())}:
        if len(part.strip()) < _SHORTEST:
            continue
        # Headers are decoded as Latin-1, whatever encoding a server uses.
        for text in (part, part.encode(errors="replace").decode("latin-1")):
            escaped = text.encode("unicode_escape").decode()
            data = text.encode(errors="replace")
            for form in (
                text,
                repr(text)[1:-1],
                escaped,
                escaped.replace("\\", "\\\\"),
                *_as_json(text),
                *(json.dumps(once)[1:-1] for once in _as_json(text)),
                quote(text, safe="", errors="replace"),
                quote(text, errors="replace"),
                quote_plus(text, errors="replace"),
                html.escape(text),
                b64encode(data).decode().rstrip("="),
            ):
                yield from (form, printable(form))


def _as_json(text: str) -> Iterator[str]:
    """How JSON may spell a text: some writers escape slashes, or what HTML has a meaning for."""
    for form in {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}:
        for marks in ("", "<>&", "<>&'"):
            safe = form.translate({ord(mark): f"\\u{ord(mark):04x}" for mark in marks})
            yield from (safe, safe.replace("/", "\\/"))
