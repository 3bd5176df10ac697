"""No message shows a secret or a control character, wherever it comes from."""

from __future__ import annotations

import html
import json
import logging
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from singer_sdk.exceptions import ConfigValidationError

from filetap.errors import ExportError, SettingsError
from filetap.people.doctor import support_bundle
from filetap.redaction import SECRECY, Secrecy, printable
from filetap.setting_checks import config_from_texts, secrets
from filetap.setting_schema import settings_schema
from tap_firstup_dde.tap import TapFirstupDDE
from tap_firstup_dde.vendor import FIRSTUP
from tests.runs import command, run, settings, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

SECRETS = [
    "Zx81-Spectrum",
    "zwölf Boxkämpfer jagen Viktor",
    "with-a-line-end\n",
    "\ttabs and blanks ",
    "quo\"te's\\back/slash?&=+%",
    "first-line\nsecond-line",
    "字字字字字字",
    "\x1b[31mred\x7f",
]
SPELLINGS = {
    "as it is": str,
    "stripped": str.strip,
    "lower case": str.lower,
    "repr": lambda s: repr(s)[1:-1],
    "ascii": lambda s: ascii(s)[1:-1],
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON in UTF-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "JSON with slashes escaped": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON for HTML": lambda s: json.dumps(s)[1:-1].replace("&", "\\u0026"),
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1],
    "percent": lambda s: quote(s, safe=""),
    "percent, path": quote,
    "percent, lower case": lambda s: quote(s, safe="").lower(),
    "form": quote_plus,
    "HTML": html.escape,
    "a header": lambda s: s.encode().decode("latin-1").strip(),
    "repr of a header": lambda s: repr(s.strip().encode().decode("latin-1"))[1:-1],
    "base64": lambda s: b64encode(s.encode()).decode(),
    "printable": printable,
    "a printable header": lambda s: printable(s.encode().decode("latin-1").strip()),
}


@pytest.fixture
def secrecy() -> Iterator[Secrecy]:
    """A filter of our own; the process's is unaffected."""
    made = Secrecy()
    yield made
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler:
            handler.removeFilter(made)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("secret", SECRETS)
def test_spellings(secrecy: Secrecy, secret: str, spelling: Any) -> None:
    """A secret is redacted in any spelling, in an error's line and in the log."""
    secrecy.guard({"options": [secret]})
    text = f"the answer ({spelling(secret)}) is not one"
    shown = secrecy.scrub(text)
    assert "***" in shown
    assert spelling(secret).strip() not in shown
    for line in filter(None, spelling(secret).split("\n")):
        assert line.strip() not in secrecy.scrub(printable(text))
    record = logging.LogRecord("x", logging.INFO, "", 0, "it is %r, %s", (text, text), None)
    assert secrecy.filter(record)
    assert spelling(secret).strip() not in record.getMessage()


@pytest.mark.parametrize("short", ["", "a", "abcd", " ab \n"])
def test_short_secrets(secrecy: Secrecy, short: str) -> None:
    """A text that is part of many words is not redacted, so messages remain readable."""
    secrecy.guard(short)
    assert secrecy.scrub("a table of abcd files") == "a table of abcd files"


ODD = "a\x1b[2Jb\r\nc\u202ed\x9be\0f\ud800g"
HARMLESS = "a�[2Jb��c�d�e�f�g"


def test_errors_are_harmless() -> None:
    """An error is one line without control characters."""
    error = ExportError(f"x {ODD}", ODD)
    assert str(error) == f"x {HARMLESS}; {HARMLESS}"
    assert (error.message, error.hint) == (f"x {HARMLESS}", HARMLESS)


def _fail(text: str) -> None:
    """Raise an error whose traceback has *text*."""
    error = ExportError("x")
    error.add_note(text)
    raise error


def test_log_is_harmless(secrecy: Secrecy) -> None:
    """An argument of a log message is one line; only the message's own lines remain lines."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "one\ntwo\x1b %s", (ODD,), None)
    secrecy.filter(record)
    assert record.getMessage() == f"one\ntwo� {HARMLESS}"
    with pytest.raises(ExportError) as caught:
        _fail(ODD)
    record = logging.LogRecord("x", logging.INFO, "", 0, "it failed", (), caught._excinfo)
    secrecy.filter(record)
    assert "Traceback" in record.getMessage()
    assert "\x1b" not in record.getMessage()


def _typed(status: int, kind: str) -> dict[str, Any]:
    """A response of that content type."""
    return {"status": status, "body": "x", "headers": {"Content-Type": kind}}


# Reflected text → the route, and the fault that reflects it.
REFLECTIONS: dict[str, tuple[str, Any]] = {
    "content type": ("list", lambda s: _typed(404, s)),
    "type": ("list", lambda s: _typed(200, s)),
    "long type": ("list", lambda s: _typed(404, "x" * 30 + s)),
    "program": ("list", lambda s: {"headers_extra": {"X-Program-Id": s}}),
    "location": (
        "list",
        lambda s: {"status": 302, "headers": {"Location": f"https://{quote(s)}.example/{s}"}},
    ),
    "wait": ("list", lambda s: {"status": 429, "headers": {"Retry-After": s, "Date": s}}),
    "time": ("list", lambda s: _listed(generated_at=s)),
    "name": ("list", lambda s: _listed(file_name=s, generated_at="2026-05-14-16")),
    "checksum": ("show", lambda s: _shown(s)),  # noqa: PLW0108 - defined below
    "range": ("download", lambda s: {"content_range": s, "headers_extra": {"ETag": s}}),
}


def _listed(**members: str) -> dict[str, Any]:
    """A list of one file that has these members."""
    entry = {"id": "1", **members}
    return {"status": 200, "body": json.dumps({"data": {"files": [entry]}})}


def _shown(text: str) -> dict[str, Any]:
    """A file whose checksum is *text*."""
    shown = {"presigned_url": f"https://{quote(text)}.invalid/", "checksum_function": text}
    return {"status": 200, "body": json.dumps({"data": [{**shown, "checksum": text}]})}


@pytest.mark.parametrize("reflection", REFLECTIONS)
@pytest.mark.parametrize("kind", ["secret", "umlauts", "token", "ready token"])
def test_reflected(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, reflection: str, kind: str
) -> None:
    """A secret or a token that a server reflects is redacted in log, error and state."""
    token = emulator.issue_token()
    secret = token
    config: dict[str, Any] = {"max_retries": 0}
    if kind == "ready token":
        config["access_token"] = token
    elif kind == "token":
        emulator.fail("token", status=200, body=json.dumps({"access_token": token}), times=None)
    else:
        secret = "pässword of umlauts" if kind == "umlauts" else "Correct-Horse"
        emulator.client_secret = config["client_secret"] = secret
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    route, fault = REFLECTIONS[reflection]
    sent = secret.encode().decode("latin-1") if route != "show" else secret
    emulator.fail(route, times=None, **fault(sent))
    caplog.set_level(logging.DEBUG)
    state = ""
    try:
        state = json.dumps(run(settings(emulator, **config)).state)
    except ExportError as error:
        caplog.handler.stream.write(str(error))
    shown = (caplog.text + state).lower()
    for form in (secret, sent, quote(secret), json.dumps(secret)[1:-1]):
        assert form.lower() not in shown
    # Nor a truncated part of it.
    assert secret[:8].lower() not in shown


@pytest.mark.parametrize(
    "misplaced",
    [
        {"region": "SECRET"},
        {"start_date": "SECRET"},
        {"spool_dir": "/no/SECRET"},
        {"api_url": "http://SECRET"},
        {"malformed_rows": "SECRET"},
        {"column_types": {"users": {"a": "SECRET"}}},
        {"column_types": {"SECRET": {}}},
        {"lookback_days": "SECRET"},
        {"primary_keys": "SECRET"},
        {"batch_config": {"encoding": {"format": "SECRET"}}},
        {"batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": "SECRET://x"}}},
        {"folder": "SECRET"},
    ],
    ids=str,
)
def test_misplaced(misplaced: dict[str, Any]) -> None:
    """A secret that is also set under a wrong name is not in the error about it."""
    secret = "Correct Hörse"  # noqa: S105 - no secret
    text = json.dumps(misplaced).replace("SECRET", secret)
    config = {"client_id": "client", "client_secret": secret, **json.loads(text)}
    with pytest.raises(ConfigValidationError) as caught:
        TapFirstupDDE(config=config)
    line = "; ".join(caught.value.errors)
    assert line.isprintable()
    for form in (secret, secret.lower(), ascii(secret)[1:-1]):
        assert form not in line


def test_misplaced_for_people(tmp_path: Path) -> None:
    """The command line does not show such a secret either."""
    config = {"client_id": "client", "client_secret": "Correct-Horse", "region": "Correct-Horse"}
    done = command("--config", write(tmp_path, "config.json", config))
    assert (done.status, "Correct" in done.log, "Traceback" in done.log) == (1, False, False)


@pytest.mark.parametrize("name", ["lookback_days", "region", "start_date", "nonsense"])
def test_misplaced_texts(name: str) -> None:
    """The same if settings are texts, as from the environment and from Spark."""
    long = "Correct-Horse-" * 5
    texts = {"client_id": "client", "client_secret": long, name: long}
    with pytest.raises(SettingsError) as caught:
        config_from_texts(texts, FIRSTUP, settings_schema(FIRSTUP))
    assert "Correct" not in str(caught.value)


def test_misplaced_in_the_environment() -> None:
    """A variable with another one's secret does not show it."""
    long = "Correct-Horse-" * 5
    names = ("CLIENT_SECRET", "LOOKBACK_DAYS")
    done = command(env={f"TAP_FIRSTUP_DDE_{name}": long for name in names})
    assert (done.status, "Correct" in done.log) == (1, False)
    assert "LOOKBACK_DAYS is not an integer" in done.log


def test_misplaced_in_the_bundle() -> None:
    """The support bundle has no secret under a wrong name."""
    config = {"client_secret": "Correct-Horse", "scope": "Correct-Horse", "region": "us1"}
    SECRECY.guard(secrets(config, FIRSTUP))
    known = settings_schema(FIRSTUP)["properties"]
    told = support_bundle([], config, known, "tap-firstup-dde")["settings"]
    assert told == {"client_secret": "***", "scope": "***", "region": "us1"}


def test_what_is_secret() -> None:
    """Logins in URLs are secret, percent-encoded or not; so is every secret setting."""
    config = {
        "client_secret": "one",
        "folder": {"url": "sftp://zoe:p%40ss@host/x", "options": {"password": "two"}},
        "batch_config": {"storage": {"root": "s3://key:secr%2Fet@x", "params": {"key": "three"}}},
    }
    found = json.dumps(secrets(config, FIRSTUP))
    for secret in ("one", "two", "three", "p%40ss", "p@ss", "secr%2Fet", "secr/et"):
        assert json.dumps(secret) in found
