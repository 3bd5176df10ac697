"""Settings from a config file or the environment, checked and parsed."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from jsonschema import Draft202012Validator

from filetap.columns.added import ADDED, GENERATED_AT
from filetap.environment import is_quoted, text_fault, typed
from filetap.errors import SettingsError
from filetap.read.names import column_names, composed
from filetap.redaction import SECRECY
from filetap.setting_schema import settings_schema
from filetap.settings import PATTERN, Folder, Protection, Retries, Settings, Tuning
from filetap.times import parse_generation, utc_now
from filetap.transports.http import is_secure
from filetap.write.batch_files import FILE_FORMATS, root_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from filetap.vendor import Vendor

PROTECTING = ("columns_to_drop", "columns_to_hash")
_PLAIN = re.compile(r"(?i)(?:.*::)?(http://.*)", re.DOTALL)  # also below a cache of fsspec's
_DAY = 86_400  # seconds
_DEFAULTS = Settings(source=None)


def parse(config: Mapping[str, Any], vendor: Vendor, tuning: Tuning | None = None) -> Settings:
    """Parse validated settings; their secrets are redacted from then on.

    Args:
        config: Setting → value, defaults filled in.
        vendor: Whose settings they are.
        tuning: Sizes that differ from the defaults.
    """
    config = {**config, **_stripped(config, vendor)}
    tuning = tuning or Tuning()
    hidden = secrets(config, vendor)
    SECRECY.guard(hidden)
    start, spool = config.get("start_date"), config.get("spool_dir")
    summary = config.get("summary_file")
    return Settings(
        source=vendor.source(config),
        start=parse_generation(start) if start else None,
        lookback_days=config["lookback_days"],
        keys={
            stream: tuple(dict.fromkeys(map(_column, labels)))
            for stream, labels in (config.get("primary_keys") or {}).items()
        },
        types=_types(config, vendor),
        diverts=config["malformed_rows"] == "divert",
        timeout=float(config["request_timeout"]),
        retries=Retries(config["max_retries"], tuning.first_pause),
        concurrency=config["concurrency"],
        spool=Path(spool) if spool else None,
        summary=Path(summary) if summary else None,
        nulls=tuple(config.get("null_values") or ()),
        fingerprint=vendor.fingerprint,
        protected=_protected(config),
        poll=float(config.get("poll_seconds") or _DEFAULTS.poll),
        job_timeout=float(config.get("job_timeout") or _DEFAULTS.job_timeout),
        maps=config.get("stream_maps") or {},
        secrets=tuple(hidden),
        tuning=tuning,
    )


def _stripped(config: Mapping[str, Any], vendor: Vendor) -> dict[str, str]:
    """Secrets with white space around them → without it: files often end with a line end."""
    known = settings_schema(vendor)["properties"]
    secret = {n: config.get(n) for n, schema in known.items() if schema.get("secret")}
    return {n: v.strip() for n, v in secret.items() if isinstance(v, str) and v != v.strip()}


def _protected(config: Mapping[str, Any]) -> dict[str, Protection]:
    """Stream → columns whose values are not emitted as they are."""
    dropped, hashed = (config.get(name) or {} for name in PROTECTING)
    return {
        stream: Protection(
            tuple(map(_name, dropped.get(stream, ()))),
            tuple(map(_name, hashed.get(stream, ()))),
            config.get("hash_key") or "",
        )
        for stream in dict.fromkeys([*dropped, *hashed])
    }


def _name(label: str) -> str:
    """The column that a label means, or the pattern of several, which may be in capitals."""
    return composed(label) if PATTERN.search(label) else column_names([label])[0]


def check_protected_streams(settings: Settings, streams: Collection[str]) -> None:
    """Refuse protected columns of streams that do not exist.

    Args:
        settings: The settings.
        streams: The streams that exist.

    Raises:
        SettingsError: A stream does not exist.
    """
    for name in settings.protected:
        if name not in streams:
            near = get_close_matches(name, streams, n=1)
            msg = f"settings: {' or '.join(PROTECTING)} names the stream {name}, which is unknown"
            raise SettingsError(msg, f"did you mean {near[0]}?" if near else "check the name")


def misnamed_streams(config: Mapping[str, Any], streams: Collection[str]) -> list[str]:
    """Warnings about streams with a key or types of their own that do not exist.

    Args:
        config: Validated settings.
        streams: The streams that exist.
    """
    found = []
    for setting in ("primary_keys", "column_types"):
        for name in sorted((config.get(setting) or {}).keys() - streams):
            near = get_close_matches(name, streams, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.append(f"{setting} names the stream {name}, which is unknown{hint}")
    return found


def _types(config: Mapping[str, Any], vendor: Vendor) -> dict[str, dict[str, str]]:
    """Stream → column → type, of the columns whose type a setting decides."""
    types = {stream: dict(own) for stream, own in vendor.types(config).items()}
    for stream, own in (config.get("column_types") or {}).items():
        types[stream] = types.get(stream, {}) | {column_names([c])[0]: k for c, k in own.items()}
    return types


def _column(label: str) -> str:
    """The column that a label means; labels may be spelt as in the files."""
    return label if label in ADDED else column_names([label])[0]


def folder_of(config: Mapping[str, Any], account: str = "") -> Folder | None:
    """The setting ``folder``, parsed; None if it is not set.

    Args:
        config: Validated settings.
        account: The vendor's word for a tenant, if the setting has one.
    """
    folder = config.get("folder")
    if not folder:
        return None
    owner = folder.get(f"{account}_id") or ""
    return Folder(folder["url"], dict(folder.get("options") or {}), str(owner))


def faults(config: Mapping[str, Any], vendor: Vendor) -> list[str]:
    """What is wrong with settings of the right types, and what to do about each."""
    config = {**config, **_stripped(config, vendor)}  # a secret of blanks is none
    found = list(vendor.faults(config))
    folder = config.get("folder")
    if folder is not None and not _is_url(folder.get("url") or ""):
        found.append("folder.url is not a URL: check its brackets and its port")
    elif folder is not None and not folder.get("url"):
        found.append("folder needs a url: a path, or a URL such as sftp://user@host/path")
    found += (
        f"{name} is not an https URL (http is for loopback hosts only)"
        for setting in ("folder", "batch_config")
        for name in _insecure(setting, config.get(setting))
    )
    start, spool = config.get("start_date"), config.get("spool_dir")
    if start and not _is_time(start):
        found.append(f"start_date {start!r} is not a time; write it like 2026-05-14T00:00:00Z")
    if spool and not _is_folder(spool):
        found.append(f"spool_dir {spool!r} is not a folder; create it or unset it")
    summary = config.get("summary_file")
    if summary and not _is_file_or_place(summary):
        found.append(f"summary_file {summary!r} is not a file in a folder that exists")
    if float(config.get("request_timeout") or 1) > _DAY:
        found.append("request_timeout is longer than a day; it is in seconds")
    batch = config.get("batch_config")
    if batch:
        found += _batch_faults(batch.get("encoding") or {}, batch.get("storage") or {})
    found += _mapping_faults(config)
    found += _protection_faults(config)
    return found + [
        f"column_types.{stream}: {name} is added by the tap; remove it"
        for stream, types in (config.get("column_types") or {}).items()
        for name in types
        if name in ADDED
    ]


def _mapping_faults(config: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with stream maps and flattening, alone and together with batch files."""
    flattening = config.get("flattening_enabled")
    if (config.get("stream_maps") or flattening) and config.get("batch_config"):
        yield (
            "batch_config cannot be used with stream_maps or flattening: "
            "batch files would hold unmapped rows; unset one of them"
        )
    length = config.get("flattening_max_key_length")
    if flattening and length is not None and length <= len(GENERATED_AT):
        yield (
            f"flattening_max_key_length {length} is too short for the column {GENERATED_AT}; "
            f"set it to {len(GENERATED_AT) + 1} or more"
        )


def _protection_faults(config: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with the columns that are dropped or hashed."""
    dropped, hashed = (config.get(name) or {} for name in PROTECTING)
    if any(hashed.values()) and not config.get("hash_key"):
        yield "columns_to_hash needs hash_key, a secret such as 32 random bytes in hex"
    for setting, names in zip(PROTECTING, (dropped, hashed), strict=True):
        for stream, own in names.items():
            for name in [column for column in own if column in ADDED]:
                yield f"{setting}.{stream}: {name} is added by the tap; remove it"
    for stream in dropped:
        for name in sorted({*map(_name, dropped[stream])} & {*map(_name, hashed.get(stream, ()))}):
            yield f"{stream}: {name} is in both {' and '.join(PROTECTING)}; remove it from one"


def _is_folder(path: str) -> bool:
    """True if *path* is a folder; False for a path that no file system takes."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _is_file_or_place(path: str) -> bool:
    """True if *path*, or what it links to, is a regular file, or could be made one in a folder."""
    try:
        place = Path(path).resolve()
        return place.is_file() or (not place.exists() and place.parent.is_dir())
    except (OSError, RuntimeError, ValueError):  # a loop of links is one of the first two
        return False


def _is_url(text: str) -> bool:
    """True if *text* is a path, or can be parsed as a URL."""
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


def _insecure(name: str, value: Any) -> Iterator[str]:
    """The members of a setting, at any depth, that are http URLs of other hosts."""
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from _insecure(f"{name}.{member}", inner)
    elif isinstance(value, str) and (url := _PLAIN.fullmatch(value)) and not is_secure(url[1]):
        yield name


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


def _is_time(text: str) -> bool:
    """True if *text* is a time that settings accept."""
    try:
        parse_generation(text)
    except ValueError:
        return False
    return True


def config_from_texts(
    texts: Mapping[str, str], vendor: Vendor, schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings from their texts, validated, with defaults for those that are not given.

    Args:
        texts: Setting → text, as in the environment; objects as JSON.
        vendor: Whose settings they are.
        schema: JSON Schema of the settings that exist.

    Raises:
        SettingsError: They cannot be used.
    """
    SECRECY.guard(secrets(texts, vendor))
    known = schema["properties"]
    config = {name: known[name]["default"] for name in known if "default" in known[name]}
    errors = [f"{name} is not a setting" for name in texts if name not in known]
    for name in known.keys() & texts:
        text, kinds = texts[name], known[name]["type"]
        if fault := text_fault(name, text, kinds):
            errors.append(fault)
        else:
            config[name] = typed(text, kinds)
    return validated(config, vendor, schema, errors)


def validated(
    config: Mapping[str, Any],
    vendor: Vendor,
    schema: Mapping[str, Any],
    errors: Sequence[str] = (),
) -> dict[str, Any]:
    """The settings that are not null, if they can be used.

    Args:
        config: Setting → value, defaults filled in.
        vendor: Whose settings they are.
        schema: JSON Schema of the settings that exist.
        errors: What is known to be wrong with them.

    Raises:
        SettingsError: They cannot be used.
    """
    config = {name: value for name, value in config.items() if value is not None}
    SECRECY.guard(secrets(config, vendor))
    if not errors:
        found = Draft202012Validator(schema).iter_errors(config)
        words = (": ".join((*map(str, error.path), error.message)) for error in found)
        errors = [without_secrets(w, config, vendor) for w in words] or faults(config, vendor)
    if errors:
        msg = f"settings: {'; '.join(errors)}"
        raise SettingsError(msg)
    return config


def settings_warnings(config: Mapping[str, Any], vendor: Vendor, known: Iterable[str]) -> list[str]:
    """A sentence about each setting that is set but has no effect.

    Args:
        config: The settings.
        vendor: Whose settings they are.
        known: The settings that exist.
    """
    found = []
    for name in sorted(set(config) - set(known)):
        near = get_close_matches(name, [*known], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        found.append(f"the setting {name} is not known and has no effect{hint}")
    for name, winner in vendor.shadowed(config).items():
        found.append(f"{winner} is set, so {name} has no effect")
    stripped = _stripped(config, vendor)
    found += [f"{name} has white space around it, which is ignored" for name in stripped]
    found += [
        f"{name} is in quotes, which are part of its value"
        for name, value in config.items()
        if isinstance(value, str) and is_quoted(value.strip())
    ]
    start = config.get("start_date")
    if isinstance(start, str) and _is_time(start) and parse_generation(start) > utc_now():
        found.append(f"start_date {start} lies in the future, so no file is read before then")
    return found


def secrets(config: Mapping[str, Any], vendor: Vendor) -> list[Any]:
    """The values of the secret settings that are set."""
    batch, folder = config.get("batch_config"), config.get("folder")
    storage = batch.get("storage") if isinstance(batch, dict) else None
    known = settings_schema(vendor)["properties"]
    plain = [config.get(name) for name in known if name != "folder" and known[name].get("secret")]
    nested = [
        storage.get("params") if isinstance(storage, dict) else None,
        _login(storage.get("root")) if isinstance(storage, dict) else None,
        folder.get("options") if isinstance(folder, dict) else folder,
        _login(folder.get("url")) if isinstance(folder, dict) else None,
    ]
    return [value for value in (*plain, *nested) if value]


def _login(url: Any) -> Any:
    """The login in a URL: a name and perhaps a password."""
    if not isinstance(url, str):
        return url
    login = url.rpartition("@")[0].rpartition("://")[2]
    password = login.partition(":")[2]
    return [login, password, unquote(login), unquote(password)] if ":" in login else None


def without_secrets(message: str, config: Mapping[str, Any], vendor: Vendor) -> str:
    """*message*, which may quote values of settings, without the secret ones."""
    batch = config.get("batch_config")
    storage = batch.get("storage") if isinstance(batch, dict) else None
    for secret in (*filter(None, (batch, storage)), *secrets(config, vendor)):
        message = message.replace(repr(secret), "***")
    return message
