"""Settings in environment variables, and in the .env file beside them."""

from __future__ import annotations

import json
import logging
import os
import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

from filetap.redaction import SECRECY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}

_OTHERS = frozenset({"LOGLEVEL"})  # variables of the SDK


def from_environment(prefix: str, schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read the settings in the environment, as UTF-8 in any locale.

    Args:
        prefix: Beginning of each variable's name.
        schema: The settings that exist, as a JSON Schema.

    Returns:
        The settings that can be read, and a message for each that cannot.
    """
    if fault := _load_dotenv():
        return {}, [fault]
    settings = schema["properties"]
    texts = {
        name: _text(variable)
        for name in settings
        if (variable := prefix + name.upper()) in os.environ
    }
    # A secret may be in the variable of another setting by mistake.
    SECRECY.guard([text for name, text in texts.items() if settings[name].get("secret")])
    config: dict[str, Any] = {}
    faults = []
    for name, text in texts.items():
        kinds = settings[name].get("type", [])
        if fault := text_fault(prefix + name.upper(), text, kinds):
            faults.append(fault)
        else:
            config[name] = typed(text, kinds)
    return config, faults


def unknown_variables(prefix: str, settings: Collection[str]) -> list[str]:
    """Warnings about variables that look like settings but are not, with the nearest name.

    Meltano's own variables about a plugin have two underscores after its name.

    Args:
        prefix: Beginning of each variable's name.
        settings: The settings that exist.
    """
    known = {name.upper() for name in settings}
    found = []
    for variable in sorted(name for name in os.environ if name.startswith(prefix)):
        name = variable.removeprefix(prefix)
        if name in known or name.startswith("_") or name in _OTHERS:
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {prefix}{near[0]}?" if near else ""
        found.append(f"the variable {variable} is not a setting and has no effect{hint}")
    return found


def log_level_fault(prefix: str) -> str:
    """What is wrong with the level of the log that the environment sets; empty if nothing is."""
    for variable in (f"{prefix}LOGLEVEL", "LOGLEVEL"):
        if level := os.environ.get(variable):
            levels = logging.getLevelNamesMapping()
            words = f"{variable} is not one of DEBUG, INFO, WARNING, ERROR"
            return "" if level.upper() in levels else words
    return ""


def _load_dotenv() -> str:
    """Load the variables of the .env file into the environment; returns what is wrong with it.

    It is the file that the SDK would load: the first in a folder above the SDK itself, such as
    that of the project whose environment this is. The SDK would decode it in the locale's encoding.
    """
    sdk = find_spec("singer_sdk")
    folders = Path(sdk.origin).parents if sdk and sdk.origin else ()
    path = next((f / ".env" for f in folders if (f / ".env").is_file()), None)
    if path is None:
        return ""
    try:
        for name, value in dotenv_values(path, encoding="utf-8-sig").items():
            if value is not None:
                os.environb.setdefault(name.encode(), value.encode())
    except ValueError:
        return f"{path} is not UTF-8 text"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return ""


def _text(variable: str) -> str:
    """The text of a variable: UTF-8 in any locale, otherwise as the locale decodes it."""
    try:
        return os.environb[variable.encode()].decode()
    except UnicodeDecodeError:
        return os.environ[variable]


def text_fault(name: str, text: str, kinds: Collection[str]) -> str:
    """What is wrong with the text of a setting of these types; empty if nothing is."""
    if not _is_unicode(text):
        return f"{name} is not UTF-8 text"
    if is_quoted(text):
        return f"{name} is in quotes, which would be part of its value; remove them"
    if "integer" in kinds and not re.fullmatch(r"-?[0-9]{1,18}", text):
        return f"{name} is not an integer: {SECRECY.scrub(text)[:40]!r}"
    if "boolean" in kinds and text.lower() not in _BOOLEANS:
        return f"{name} is neither true nor false: {SECRECY.scrub(text)[:40]!r}"
    if ("object" in kinds or "array" in kinds) and not _is_json(text):
        return f"{name} is not JSON"
    return ""


def is_quoted(text: str) -> bool:
    """True if *text* is in quotes, of which a shell or a .env file would leave none."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def typed(text: str, kinds: Collection[str]) -> Any:
    """The value of a setting of these types, from a text without faults."""
    if "integer" in kinds:
        return int(text)
    if "boolean" in kinds:
        return _BOOLEANS[text.lower()]
    return json.loads(text) if "object" in kinds or "array" in kinds else text


def _is_json(text: str) -> bool:
    """True if *text* is JSON whose strings can be encoded again."""
    try:
        return _is_unicode(json.dumps(json.loads(text), ensure_ascii=False))
    except (ValueError, RecursionError):
        return False


def _is_unicode(text: str) -> bool:
    """True if *text* has no lone surrogate, which no output can encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
