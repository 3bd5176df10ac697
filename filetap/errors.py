"""Every error a run can end with, by what the caller can do about it.

* ExportError                       message, hint
  x SettingsError                   the settings cannot be used
  x StateError                      the state belongs to something else, or is not a state
  x TransportError                  listing or fetching failed for good
    + RetriableTransportError       429, 5xx, time-outs, dropped connections: try again
      - RangeRefusedError           the server cannot resume there: start over
      - RateLimitError              429: the server wants fewer requests
    + ExpiredURLError               a presigned URL expired: request a new one
    + AuthenticationError           the credentials or their scope were refused
    + FileGoneError                 a listed file no longer exists
    + NotReadyError                 the job that makes a file has not ended
    + JobError                      a job did not end, or failed each time it was requested
    + TooLongError                  the span of a job is longer than the vendor accepts
  x IntegrityError                  the bytes differ from what was promised
  x FormatError                     the bytes are right, but cannot be read as records
  x SpoolError                      a download cannot be written to the local disk
  x BatchFileError                  a batch file cannot be written to its storage
  x DatabaseError                   a database cannot be reached, or refused what it was given
"""

from __future__ import annotations

from filetap.redaction import SECRECY, printable

STATE_HINT = "give the last STATE as it was written, or none"


class ExportError(Exception):
    """An error that says what to try; its text is one printable line and holds no secret.

    Attributes:
        message: What failed, and on which file.
        hint: What to try; empty if nothing helps.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        """Store message and hint, and join them as the error's text."""
        # Redacted here, so that no path to a terminal or a log is forgotten.
        message, hint = (printable(SECRECY.scrub(text)) for text in (message, hint))
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint

    def end_with(self, note: str) -> None:
        """Add what the vendor's support needs to the end of the text; nothing if it is empty."""
        if note:
            ExportError.__init__(self, self.message, "; ".join(filter(None, (self.hint, note))))


class SettingsError(ExportError):
    """Settings, or a schema that a user gave, cannot be used."""


class StateError(ExportError):
    """The state given to the run cannot be used."""


class TransportError(ExportError):
    """Listing or fetching failed, and trying again would not help."""


class RetriableTransportError(TransportError):
    """Listing or fetching failed for a transient reason.

    Attributes:
        retry_after: Seconds that the server asked to wait; None if it stated none.
        is_final: True once the request was repeated as often as allowed, so that a caller which
            repeats a whole download does not repeat the request as often again.
    """

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None) -> None:
        """Store the wait beside message and hint."""
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.is_final = False


class RangeRefusedError(RetriableTransportError):
    """The rest of a file is not available, only the whole file."""


class RateLimitError(RetriableTransportError):
    """The server answered 429: there were too many requests."""


class ExpiredURLError(TransportError):
    """A presigned URL was refused; a new one is needed."""


class AuthenticationError(TransportError):
    """Credentials, token or scope were refused."""


class FileGoneError(TransportError):
    """A file that was listed can no longer be fetched."""


class NotReadyError(TransportError):
    """The job that makes a file has not ended; it can be fetched later."""


class JobError(TransportError):
    """A job did not end in time, or failed each time it was requested."""


class TooLongError(TransportError):
    """A job was refused because its span is longer than the vendor accepts."""


class IntegrityError(ExportError):
    """Length, checksum or gzip's own check differ from what was promised."""


class FormatError(ExportError):
    """The bytes are as promised, but cannot be read as records."""


class SpoolError(ExportError):
    """A download cannot be written to the local disk."""


class BatchFileError(ExportError):
    """A batch file cannot be written to its storage."""


class DatabaseError(ExportError):
    """A database cannot be reached, or refused what it was given."""
