"""Every private name of the SDK that the engine relies on, and nothing else.

tests/singer/test_private.py checks each against the SDK that is installed. Other modules of the
engine use what this one offers.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers._flattening import flatten_key
from singer_sdk.helpers._util import load_json
from singer_sdk.mapper import SameRecordTransform

from filetap.times import format_time

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from types import FrameType

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.mapper import StreamMap

__all__ = [
    "BaseBatchFileEncoding",
    "BatchConfig",
    "ConfiguredTap",
    "ExtractorStream",
    "classproperty",
    "flatten_key",
    "load_json",
    "plain_logger",
]


class ExtractorStream(Stream):
    """A stream that decides when SCHEMA and STATE are written, and writes lines in blocks."""

    @abstractmethod
    def prepare(self) -> None:
        """Get ready, and write the first SCHEMA; called first of all."""

    @abstractmethod
    def record_blocks(self) -> Iterator[tuple[Callable[[str], bytes], int]]:
        """Blocks of RECORD lines.

        Yields:
            A function from the time of extraction (RFC 3339) to the lines, and their number.
        """

    def write_schema(self) -> None:
        """Write SCHEMA as it is now."""
        super()._write_schema_message()

    def write_state(self) -> None:
        """Write STATE as it is now."""
        self.state_changed()
        self._write_state_message()

    def state_changed(self) -> None:
        """Have the SDK write STATE at the end of the stream."""
        self.state_manager.is_flushed = False

    def register(self, schema: dict[str, Any]) -> None:
        """Make stream maps start from *schema* and the stream's key."""
        self._tap.mapper.register_raw_stream_schema(self.name, schema, self.primary_keys)
        self._stream_maps = None  # cached by the SDK

    def write_lines(self, lines: bytes) -> None:
        """Write messages that are lines already, in order with all others."""
        self._tap.write_message(lines)

    def write_record(self, record: Record) -> None:
        """Write one RECORD message, mapped."""
        self._write_record_message(record)

    @property
    def is_registered(self) -> bool:
        """True once `register` was called."""
        return self.name in self._tap.mapper.stream_maps

    @property
    def input_schema(self) -> Mapping[str, Any] | None:
        """The schema in the input catalog; None without one."""
        return self._input_schema

    @property
    def writes_lines(self) -> bool:
        """True if records are written as they are: no map, no flattening, no limit, no child."""
        maps: list[StreamMap] = self.stream_maps
        return (
            len(maps) == 1
            and type(maps[0]) is SameRecordTransform
            and not maps[0].flattening_enabled
            and self.ABORT_AT_RECORD_COUNT is None
            and not self.child_streams
        )

    # Overrides. `_sync_records` is the only way to write more than one record at a time; the
    # others would move the bookmark by record, or write STATE that does not cover its records.

    @override
    def _write_schema_message(self) -> None:
        self.prepare()

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        if not (write_messages and self.writes_lines):
            yield from super()._sync_records(context, write_messages=write_messages)
            return
        with self.get_record_counter() as counter, self.get_sync_timer():
            for lines, count in self.record_blocks():
                self.write_lines(lines(format_time(datetime.now(UTC))))
                counter.increment(count)
        self._finalize_state(self.stream_state)
        self._write_state_message()

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        return None  # the bookmark moves by file, and only when a file is finished

    @override
    def _increment_stream_state(
        self, latest_record: Record, *, context: Context | None = None
    ) -> None:
        return None  # the bookmark moves by file, never by record

    @override
    def _write_batch_message(self, *args: Any, **kwargs: Any) -> None:
        super()._write_batch_message(*args, **kwargs)
        # The STATE that the SDK would write next does not cover the batch.
        self.state_manager.is_flushed = True


class ConfiguredTap(Tap):
    """A tap that reads the environment and checks settings in its own way."""

    @classmethod
    def environment(cls, schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The settings in the environment, and what is wrong with them.

        Args:
            schema: JSON Schema of all settings, the SDK's included.
        """
        raise NotImplementedError

    def settings_errors(self, errors: list[str]) -> list[str]:
        """What is wrong with the settings.

        Args:
            errors: What the SDK has found.
        """
        raise NotImplementedError

    def warn_of_settings(self) -> None:
        """Log settings that have no effect."""

    def stopped(self, number: int) -> None:
        """End the process because of a signal."""
        raise NotImplementedError

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - the SDK's decorator
        config, errors = cls.environment(cls.config_jsonschema)
        if errors:
            msg = "the environment cannot be used"
            raise ConfigValidationError(msg, errors=errors)
        return config

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        # A setting that is null is not set.
        for name in [name for name, value in self._config.items() if value is None]:
            del self._config[name]
        try:
            errors = super()._validate_config(raise_errors=raise_errors)
        except ConfigValidationError as error:
            errors = error.errors
        except AttributeError:
            # In the SDK's own schema for __else__ one of the alternatives is not a schema.
            errors = ["stream_maps: __else__ can be __NULL__ or null only"]
        errors = self.settings_errors(errors)
        if errors and raise_errors:
            self.warn_of_settings()
            msg = "the settings cannot be used"
            raise ConfigValidationError(msg, errors=errors, schema=self.config_jsonschema)
        return errors

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        # The SDK writes STATE as it is just then, perhaps into the middle of a line, and exits
        # with 0: a run that was cut off would look finished.
        self.stopped(signum)


def plain_logger(logger: Any) -> Any:
    """The standard library's logger: from 0.55 on the SDK's wraps one."""
    return getattr(logger, "logger", logger)
