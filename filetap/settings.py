"""The tap's settings: their JSON Schema, and what can be wrong with them beyond their types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from jsonschema import Draft202012Validator

from filetap.columns.types import TYPES
from filetap.environment import text_fault, typed
from filetap.errors import SettingsError
from filetap.files import parse_generation
from filetap.redaction import SECRECY
from filetap.transports.http import is_secure
from filetap.transports.oauth import is_token
from filetap.write.records import FILE_FORMATS
from filetap.write.storage import root_fault
from tap_firstup_dde.api import REGIONS
from tap_firstup_dde.vendor import ADDED, GENERATED_AT, KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping


_SECRET = {"secret": True, "writeOnly": True}  # what the SDK and the Hub go by


def _setting(kinds: str, title: str, description: str, **rest: Any) -> dict[str, Any]:
    """A setting's JSON Schema; *kinds* are its types, beside null."""
    words = {"title": title, "description": description}
    return {"type": [*kinds.split(), "null"], **words, **rest}


def _object(
    title: str, description: str, properties: Mapping[str, Any], **rest: Any
) -> dict[str, Any]:
    """The JSON Schema of a setting that has these members and no other."""
    members = {"properties": dict(properties), "additionalProperties": False}
    return _setting("object", title, description, **members, **rest)


def _per_stream(title: str, description: str, of_each: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a setting that has a member for each stream."""
    members = {"propertyNames": {"enum": list(KEYS)}, "additionalProperties": dict(of_each)}
    return _setting("object", title, description, **members)


# No defaults within objects: the SDK puts them into what is no object, too, and fails.
SETTINGS: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "region": _setting(
            "string",
            "Region",
            "Where the program lives; picks api_url and auth_url.",
            default="us1",
            enum=list(REGIONS),
        ),
        "api_url": _setting(
            "string",
            "API URL",
            "Base of the API, without /v2; overrides the region's.",
            format="uri",
        ),
        "auth_url": _setting(
            "string",
            "Authorisation URL",
            "Base of the authorisation server; overrides the region's.",
            format="uri",
        ),
        "client_id": _setting("string", "Client ID", "OAuth client, from Firstup.", **_SECRET),
        "client_secret": _setting(
            "string", "Client secret", "Secret of the OAuth client.", **_SECRET
        ),
        "scope": _setting("string", "Scope", "Sent with the token request only when set."),
        "access_token": _setting(
            "string", "Access token", "A ready token, instead of client credentials.", **_SECRET
        ),
        "start_date": _setting(
            "string",
            "Start date",
            "Export files generated before it are never read.",
            format="date-time",
        ),
        "lookback_days": _setting(
            "integer",
            "Lookback",
            "Days after the bookmark in which a late file is still picked up.",
            default=14,
            minimum=0,
            maximum=36500,
        ),
        "primary_keys": _per_stream(
            "Primary keys",
            "Stream → list of columns that replace the stream's key.",
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ),
        "column_types": _per_stream(
            "Column types",
            f"Stream → column → type, instead of the inferred one: {', '.join(TYPES)}.",
            {"type": "object", "additionalProperties": {"enum": list(TYPES)}},
        ),
        "malformed_rows": _setting(
            "string",
            "Malformed rows",
            "What a row that cannot be read does: `fail` ends the run, `divert` sends its text to "
            "the stream `<stream>_malformed` and goes on.",
            default="fail",
            enum=["fail", "divert"],
        ),
        "request_timeout": _setting(
            "number string",  # the SDK leaves numbers from the environment text
            "Request timeout",
            "Seconds that one socket operation may take.",
            default=60,
            exclusiveMinimum=0,
            pattern=r"^(?!0+(\.0+)?$)[0-9]+(\.[0-9]+)?$",
        ),
        "max_retries": _setting(
            "integer", "Retries", "How often one request is tried again.", default=5, minimum=0
        ),
        "spool_dir": _setting(
            "string",
            "Spool folder",
            "Where a download is kept while it is read; the system's temporary folder unless set.",
        ),
        "folder": _object(
            "Delivered files",
            "Read delivered files instead of the API: `url` (a folder, or an fsspec URL such as "
            "`sftp://user@host/path` or `s3://bucket/path`), `options` of its file system, and "
            "`program_id`, to read one program's files only.",
            {
                "url": _setting(
                    "string", "URL", "A folder, or an fsspec URL such as `sftp://user@host/path`."
                ),
                "options": _setting(
                    "object",
                    "Options",
                    "What the URL's file system takes, credentials among it.",
                    **_SECRET,
                ),
                "program_id": _setting("string", "Program", "Read this program's files only."),
            },
            **_SECRET,
        ),
        # The SDK's own does not know arrow, nor options of the storage.
        "batch_config": _object(
            "Batch files",
            "Write batch files instead of records: `encoding` (`format` jsonl, parquet or arrow; "
            "`compression`), `storage` (`root`, a folder or an fsspec URL; `prefix`; `params` of "
            "its file system) and `batch_size`, rows a file at most. Not together with stream maps "
            "or flattening.",
            {
                "encoding": _object(
                    "Encoding",
                    "The files' format and compression.",
                    {
                        "format": _setting(
                            "string",
                            "Format",
                            "What the files are; required.",
                            enum=list(FILE_FORMATS),
                        ),
                        "compression": _setting(
                            "string",
                            "Compression",
                            "Of jsonl gzip unless set, of parquet its own.",
                            enum=["gzip", "none"],
                        ),
                    },
                ),
                "storage": _object(
                    "Storage",
                    "Where the files are written.",
                    {
                        "root": _setting(
                            "string",
                            "Root",
                            "A folder, or an fsspec URL such as `s3://bucket/path`.",
                        ),
                        "prefix": _setting(
                            "string", "Prefix", "What each file's name begins with."
                        ),
                        "params": _setting(
                            "object",
                            "Options",
                            "What the root's file system takes, credentials among it.",
                            **_SECRET,
                        ),
                    },
                ),
                "batch_size": _setting(
                    "integer",
                    "Batch size",
                    "Rows a file at most: 10000 unless set, 100000 at the most.",
                    minimum=1,
                ),
            },
        ),
    },
}


_DAY = 86_400  # seconds


def faults(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with settings that have the right types; each with what to do."""
    found = []
    has_client = config.get("client_id") and config.get("client_secret")
    delivered = config.get("folder")
    if not has_client and not config.get("access_token") and delivered is None:
        found.append(
            "no credentials: set client_id and client_secret (or access_token) as Firstup gave "
            "them, or folder to read delivered files"
        )
    if delivered is not None and not _is_url(delivered.get("url") or ""):
        found.append("folder.url is no URL: a bracket or a port in it is wrong")
    elif delivered is not None and not delivered.get("url"):
        found.append("folder needs a url: a folder's path, or a URL such as sftp://user@host/path")
    if (token := config.get("access_token")) and not is_token(token.strip()):
        found.append("access_token holds blanks or characters that no token has")
    found += [
        f"{name} is not an https URL (http is for loopback hosts only)"
        for name in ("api_url", "auth_url")
        if config.get(name) and not is_secure(config[name])
    ]
    found += [
        f"{name} may hold no login, query or fragment; the credentials have settings of their own"
        for name in ("api_url", "auth_url")
        if set(config.get(name) or "") & set("@?#")
    ]
    start, folder = config.get("start_date"), config.get("spool_dir")
    if start and not _is_time(start):
        found.append(f"start_date {start!r} is not a time; write it like 2026-05-14T00:00:00Z")
    if folder and not Path(folder).is_dir():
        found.append(f"spool_dir {folder!r} is not a folder; create it or unset it")
    if float(config.get("request_timeout") or 1) > _DAY:
        found.append("request_timeout is longer than a day; it is in seconds")
    batch = config.get("batch_config")
    if batch:
        found += _batch_faults(batch.get("encoding") or {}, batch.get("storage") or {})
    found += _mapping_faults(config)
    return found + [
        f"column_types.{stream}: {name} is added by the tap; leave it out"
        for stream, types in (config.get("column_types") or {}).items()
        for name in types
        if name in ADDED
    ]


def _mapping_faults(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with stream maps and flattening, beside batch files and by themselves."""
    found = []
    flattening = config.get("flattening_enabled")
    if (config.get("stream_maps") or flattening) and config.get("batch_config"):
        found.append(
            "batch_config cannot be used with stream_maps or flattening: "
            "batch files would hold unmapped rows; unset one of them"
        )
    length = config.get("flattening_max_key_length")
    if flattening and length is not None and length <= len(GENERATED_AT):
        found.append(
            f"flattening_max_key_length {length} is too short for the column {GENERATED_AT}; "
            f"set it to {len(GENERATED_AT) + 1} or more"
        )
    return found


def _is_url(text: str) -> bool:
    """Whether *text* can be taken apart as a URL, or is a path."""
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


def _batch_faults(encoding: Mapping[str, str], storage: Mapping[str, str]) -> list[str]:
    """What is wrong with the parts of batch_config."""
    if not encoding.get("format") or not storage.get("root"):
        return ["batch_config needs encoding.format and storage.root"]
    if fault := root_fault(storage["root"]):
        return [f"batch_config.storage.root: {fault}"]
    allowed = FILE_FORMATS[encoding["format"]]
    if encoding.get("compression", allowed[0]) not in allowed:
        choice = " or ".join(allowed)
        return [f"batch_config: the compression of {encoding['format']} files is {choice}"]
    return []


def from_texts(texts: Mapping[str, str], schema: Mapping[str, Any] = SETTINGS) -> dict[str, Any]:
    """Settings out of their texts, validated, those that are not given by their defaults.

    Args:
        texts: Setting → text, as in the environment; objects are JSON.
        schema: The settings that there are.

    Raises:
        SettingsError: They cannot be used.
    """
    SECRECY.guard(secrets(texts))
    known = schema["properties"]
    config = {name: known[name]["default"] for name in known if "default" in known[name]}
    errors = [f"{name} is no setting" for name in texts if name not in known]
    for name in known.keys() & texts:
        text, kinds = texts[name], known[name]["type"]
        if fault := text_fault(name, text, kinds):
            errors.append(fault)
        else:
            config[name] = typed(text, kinds)
    config = {name: value for name, value in config.items() if value is not None}
    SECRECY.guard(secrets(config))
    if not errors:
        found = Draft202012Validator(schema).iter_errors(config)
        told = (": ".join((*map(str, error.path), error.message)) for error in found)
        errors = [without_secrets(fault, config) for fault in told] or faults(config)
    if errors:
        msg = f"settings: {'; '.join(errors)}"
        raise SettingsError(msg)
    return config


def _is_time(text: str) -> bool:
    """Whether *text* is a time as settings take it."""
    try:
        parse_generation(text)
    except ValueError:
        return False
    return True


def shadowed(config: Mapping[str, Any]) -> dict[str, str]:
    """Settings that are set and have no effect → the one that is used instead."""
    found = {}
    if config.get("access_token"):
        found = dict.fromkeys(("client_id", "client_secret"), "access_token")
    if config.get("folder"):
        found = dict.fromkeys(("client_id", "client_secret", "access_token"), "folder")
    return {name: winner for name, winner in found.items() if config.get(name)}


def settings_warnings(config: Mapping[str, Any], schema: Mapping[str, Any] = SETTINGS) -> list[str]:
    """What is set and has no effect, a sentence each.

    Args:
        config: The settings.
        schema: The settings that exist.
    """
    unknown = sorted(set(config) - set(schema["properties"]))
    return [f"the setting {name} is not known, and has no effect" for name in unknown] + [
        f"{winner} is set, so {name} has no effect" for name, winner in shadowed(config).items()
    ]


def secrets(config: Mapping[str, Any]) -> list[Any]:
    """The values of the settings that are secret, as far as they are set."""
    batch, folder = config.get("batch_config"), config.get("folder")
    storage = batch.get("storage") if isinstance(batch, dict) else None
    known = SETTINGS["properties"]
    plain = [config.get(name) for name in known if name != "folder" and known[name].get("secret")]
    nested = [
        storage.get("params") if isinstance(storage, dict) else None,
        _login(storage.get("root")) if isinstance(storage, dict) else None,
        folder.get("options") if isinstance(folder, dict) else folder,
        _login(folder.get("url")) if isinstance(folder, dict) else None,
    ]
    return [value for value in (*plain, *nested) if value]


def _login(url: Any) -> Any:
    """What a URL has before its host: a name and perhaps a password."""
    if not isinstance(url, str):
        return url
    login = url.rpartition("@")[0].rpartition("://")[2]
    password = login.partition(":")[2]
    return [login, password, unquote(login), unquote(password)] if ":" in login else None


def without_secrets(message: str, config: Mapping[str, Any]) -> str:
    """*message*, which may show values of settings, with those struck out that are secret."""
    batch = config.get("batch_config")
    storage = batch.get("storage") if isinstance(batch, dict) else None
    for secret in (*filter(None, (batch, storage)), *secrets(config)):
        message = message.replace(repr(secret), "***")
    return message
