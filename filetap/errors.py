"""Every error a run can end with, by what the caller can do about it.

* ExportError                       message, hint
  x SettingsError                   the settings cannot be used
  x StateError                      the state belongs to something else, or is not a state
  x TransportError                  listing or fetching failed for good
    + RetriableTransportError       429, 5xx, time-outs, dropped connections: try again
      - RangeRefusedError           the server cannot go on from there: start over
    + ExpiredURLError               a presigned URL lapsed: ask for a fresh one
    + AuthenticationError           the credentials or their scope were refused
    + FileGoneError                 a listed file is no longer there
  x IntegrityError                  the bytes differ from what was promised
  x FormatError                     the bytes are right, but cannot be read as records
  x SpoolError                      the local disk refused a download
  x BatchFileError                  the storage refused a batch file
"""

from __future__ import annotations

from filetap.redaction import SECRECY, printable

STATE_HINT = "give the last STATE as it was written, or none"


class ExportError(Exception):
    """An error with a way out; its text is one printable line and holds no secret.

    Attributes:
        message: What failed, and on which file.
        hint: What to try; empty when there is nothing to say.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep message and hint apart, and join them for people."""
        # Here and nowhere else, so that no way to a terminal or a log is forgotten.
        message, hint = (printable(SECRECY.scrub(text)) for text in (message, hint))
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class SettingsError(ExportError):
    """Settings, or a schema that a user gave, cannot be used."""


class StateError(ExportError):
    """The state given to the run cannot be used."""


class TransportError(ExportError):
    """Listing or fetching failed, and trying again would not help."""


class RetriableTransportError(TransportError):
    """Listing or fetching failed in a way that passes.

    Attributes:
        retry_after: Seconds the server asked to wait; None when it did not say.
    """

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None) -> None:
        """Add the wait that the server asked for."""
        super().__init__(message, hint)
        self.retry_after = retry_after


class RangeRefusedError(RetriableTransportError):
    """The rest of a file cannot be had; only the whole of it."""


class ExpiredURLError(TransportError):
    """A presigned URL was refused; a fresh one is needed."""


class AuthenticationError(TransportError):
    """Credentials, token or scope were refused."""


class FileGoneError(TransportError):
    """A file that was listed can no longer be fetched."""


class IntegrityError(ExportError):
    """Length, checksum or gzip's own check differ from what was promised."""


class FormatError(ExportError):
    """The bytes are as promised, but not records."""


class SpoolError(ExportError):
    """A download cannot be kept on the local disk."""


class BatchFileError(ExportError):
    """A batch file cannot be kept in its storage."""
