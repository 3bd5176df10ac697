"""What a tap states about its vendor: the engine has everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from filetap.files import ExportFile, Transport
    from filetap.settings import Settings


def _string(_column: str) -> str:
    """The type of any column while it has no values."""
    return "string"


def _never(_column: str) -> bool:
    """False for any column."""
    return False


@dataclass(frozen=True, slots=True)
class Documented:
    """What a vendor documents about a stream's columns.

    Attributes:
        columns: Column → type, of the columns that are documented for the stream.
        text: Columns that hold codes or free text: never inferred.
        named_text: The same by name, for columns that are not documented.
        yes_no: Columns that are boolean also when spelled t/f, yes/no or 1/0.
        likely: Columns that are not documented, but by which such a file is recognised, too.
        assume: Any column's type while it has no values, by its name.
        fixed: True if every documented column exists with its type, whatever files have.
        nested: True if columns may be objects or arrays; otherwise such values are text.
        open: True if rows may have any columns; otherwise a file without a known one is refused.
        identity: Columns that `EVENT_KEY` is a hash of.
        order: Column whose text orders rows of one identity.
        required: Columns without whose value a row is malformed while they are of the key.
        about: What the stream's files hold.
        texts: Column → what the vendor says about it, of the columns that are described.
    """

    columns: Mapping[str, str]
    text: frozenset[str] = frozenset()
    yes_no: frozenset[str] = frozenset()
    assume: Callable[[str], str] = _string
    named_text: Callable[[str], bool] = _never
    likely: frozenset[str] = frozenset()
    fixed: bool = False
    nested: bool = False
    open: bool = False
    identity: tuple[str, ...] = ()
    order: str = ""
    required: frozenset[str] = frozenset()
    about: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)

    def is_text(self, column: str) -> bool:
        """True if a column holds codes or free text."""
        return column in self.text or self.named_text(column)


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream of export files.

    Attributes:
        name: Name of the stream.
        key: Columns of its key; `ROW_KEY`, `HASH_KEY` or `EVENT_KEY` if rows have no id.
        documented: What the vendor documents about its columns.
        choices: Keys to choose from: the first that every row of the first file has, no two rows
            the same, takes the place of *key*.
        repeats: True if rows may share a key of *choices* that is chosen.
        ordered: True if a later file may state a row again with other values. After a file that
            came late or was replaced, all later ones are then read again.
        times: Columns of which the first that a file has is a row's own time. The stream's files
            are then made on request, and the vendor's transport is a `JobSource`.
        added: Optional added columns that its records have.
        full_table: True if it has one file that is made when it is read, and no bookmark.
    """

    name: str
    key: tuple[str, ...]
    documented: Documented
    choices: tuple[tuple[str, ...], ...] = ()
    repeats: bool = False
    ordered: bool = False
    times: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    full_table: bool = False


@dataclass(frozen=True, slots=True)
class Hints:
    """The vendor's part of what messages suggest.

    Attributes:
        gone: When a listed file has expired.
        gap: When files seem to have expired unread.
        empty: When no file is listed.
        old: When the newest file is days old.
        lost: When a partly read file has expired; follows a sentence.
        accounts: When files of several accounts are read; follows a sentence.
    """

    gone: str = "run more often; start_date skips what can no longer be read"
    gap: str = "a run every few hours leaves no gap"
    empty: str = "check that exports are set up"
    old: str = "check that exports still run"
    lost: str = ""
    accounts: str = ""


def _no_types(_config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """No types at all."""
    return {}


def _none(_config: Mapping[str, Any]) -> dict[str, str]:
    """No settings at all."""
    return {}


def _no_files(_transport: Transport, _stream: str) -> tuple[ExportFile, ...]:
    """No files at all."""
    return ()


def _no_others(_transport: Transport, _since: datetime | None) -> tuple[StreamSpec, ...]:
    """No streams at all."""
    return ()


@dataclass(frozen=True, slots=True)
class Vendor:
    """Everything that the engine needs to know to be this vendor's tap.

    Attributes:
        name: The vendor's name, in messages.
        program: Name of the Singer program; its upper case begins the environment's variables.
        tool: Name of the program for people.
        streams: Stream → what is known about it.
        settings: JSON Schemas of the vendor's own settings, by name.
        source: Takes the validated settings and returns where files come from (a `Folder`, or the
            vendor's own type): `Settings.source`.
        faults: Validated settings → what is wrong with the vendor's own, with what to do.
        shadowed: Validated settings → those that have no effect, and which one takes their place.
        connect: Takes `Settings` and returns a `Transport`.
        types: Validated settings → stream → column → type, of columns whose type one of the
            vendor's own settings decides.
        hints: The vendor's part of messages.
        account: The vendor's word for a tenant.
        retention: How long a listed file can be downloaded; None if files do not expire.
        distribution: Distribution that the tap is part of; empty if it has the program's name.
        lookback_days: Default of the setting.
        fingerprint: Algorithm that tells the contents of two versions of a file apart.
        newest: Takes a transport that lists files by date, and returns the newest date; only the
            lookback before it is listed then. None if every run lists all files.
        unsettled: Takes a transport and a stream, and returns files of it that a listing found and
            left out, because they are still being written.
        others: Takes the transport and a first date, and returns streams that are not documented
            and have files since.
    """

    name: str
    program: str
    tool: str
    streams: Mapping[str, StreamSpec]
    settings: Mapping[str, Any]
    source: Callable[[Mapping[str, Any]], Any]
    connect: Callable[[Settings], Transport]
    faults: Callable[[Mapping[str, Any]], Iterable[str]] = _none
    shadowed: Callable[[Mapping[str, Any]], Mapping[str, str]] = _none
    types: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, str]]] = _no_types
    hints: Hints = field(default_factory=Hints)
    account: str = "account"
    retention: timedelta | None = None
    distribution: str = ""
    lookback_days: int = 14
    fingerprint: str = "CRC64NVME"
    newest: Callable[[Transport], datetime | None] | None = None
    unsettled: Callable[[Transport, str], Iterable[ExportFile]] = _no_files
    others: Callable[[Transport, datetime | None], Iterable[StreamSpec]] = _no_others

    @property
    def prefix(self) -> str:
        """What the names of environment variables begin with."""
        return self.program.replace("-", "_").upper() + "_"

    @property
    def table_prefix(self) -> str:
        """What the names of the tables begin with that a loader needs for itself."""
        return f"_{self.tool.partition('-')[0]}_"
