"""Secrets kept out of whatever is logged, by whomever, at whatever level."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST = 5  # characters; what is shorter is in many words
# A presigned URL's query is a credential; libraries log paths with queries, too.
_QUERY = re.compile(r"\?[^\s'\"<>)]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]+")


class Secrecy(logging.Filter):
    """Strikes secrets, tokens and the queries of URLs out of log records and their tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: set[str] = set()

    def guard(self, values: Any) -> None:
        """Keep every text within *values*, which may be nested, out of what is logged from now on.

        It takes the handlers that there are: a logger's filter does not see its children's records.
        """
        self._secrets.update(text for text in _texts(values) if len(text) >= _SHORTEST)
        # The last resort is whose the records are where nobody has set up any logging.
        for handler in (*logging.getLogger().handlers, logging.lastResort):
            if handler:
                handler.addFilter(self)

    def scrub(self, text: str) -> str:
        """*text* without what must not be shown."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return _BEARER.sub(r"\1 ***", _QUERY.sub("?…", text))

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.scrub(record.getMessage()), None
        if record.exc_info and record.exc_info[0]:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            # The formatter takes this text instead of the exception's own.
            record.exc_text, record.exc_info = self.scrub(told), None
        return True


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
