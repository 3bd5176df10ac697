"""Every error says what failed and what to try, and its class says what a caller can do."""

from __future__ import annotations

import inspect
import re

import pytest

from filetap import errors as exceptions
from filetap.errors import ExportError, RetriableTransportError

ERRORS = {
    name: kind
    for name, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, Exception)
}
PARENTS = {
    "ExportError": "Exception",
    "SettingsError": "ExportError",
    "StateError": "ExportError",
    "TransportError": "ExportError",
    "RetriableTransportError": "TransportError",
    "RangeRefusedError": "RetriableTransportError",
    "RateLimitError": "RetriableTransportError",
    "ExpiredURLError": "TransportError",
    "AuthenticationError": "TransportError",
    "FileGoneError": "TransportError",
    "NotReadyError": "TransportError",
    "JobError": "TransportError",
    "TooLongError": "TransportError",
    "IntegrityError": "ExportError",
    "FormatError": "ExportError",
    "SpoolError": "ExportError",
    "BatchFileError": "ExportError",
    "DatabaseError": "ExportError",
}


def test_tree() -> None:
    """The errors and their base classes are those of the table above."""
    assert {name: kind.__base__.__name__ for name, kind in ERRORS.items() if kind.__base__} == (
        PARENTS
    )


def test_drawn_tree() -> None:
    """The tree drawn in the module's docstring is the tree of the classes."""
    drawn, path = {}, ["Exception"]
    lines = re.findall(r"^( *)[*x+-] (\w+Error)", exceptions.__doc__ or "", re.MULTILINE)
    for indent, name in lines:
        del path[len(indent) // 2 + 1 :]
        drawn[name] = path[-1]
        path.append(name)
    assert drawn == PARENTS


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(
    ("hint", "text"), [("", "users broke"), ("run again", "users broke; run again")]
)
def test_text(kind: type[ExportError], hint: str, text: str) -> None:
    """An error is one line of text, message and hint; both are available separately."""
    error = kind("users broke", hint)
    assert (str(error), error.message, error.hint) == (text, "users broke", hint)


@pytest.mark.parametrize("seconds", [None, 0.0, 12.5])
def test_wait(seconds: float | None) -> None:
    """A transient error has the wait that the server asked for."""
    assert RetriableTransportError("busy", retry_after=seconds).retry_after == seconds
