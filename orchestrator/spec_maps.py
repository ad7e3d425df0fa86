"""The objects and arrays of a spec, given as such or as JSON texts: variables, links, preferences. Pure.

As in spec_text: a value as JSON gave it goes in, the cleaned one comes out, ValueError says what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.spec_text import dns_label, shown, text, whole

_ENV_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
MAX_DEPTH = 50  # arrays and objects inside one another
ENV_MAX_COUNT = 1000
ENV_MAX_BYTES = 256 * 1024
ENV_VALUE_MAX_BYTES = 96 * 1024  # below what Linux takes as one string of an environment
OWN_VARIABLE = "__DEFAULT_DOMAIN_NAME__"  # stands in every answer; a client that sends it back does not set it


def json_object(value: Any) -> dict[str, Any]:
    """An object, or a JSON text holding one; null, "" and "{}" are the empty one."""
    value = _from_json(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is not an object; an object or a JSON text holding one is allowed")
    return value


def json_array(value: Any) -> list[Any]:
    """An array, or a JSON text holding one; null, "" and the empty object (as answers write it) are the empty one."""
    value = _from_json(value)
    if value is None or value == {}:
        return []
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{shown(value)} is not an array; an array or a JSON text holding one is allowed")
    if len(value) > 100:
        raise ValueError(f"has {len(value)} entries; at most 100 are allowed")
    return list(value)


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        read = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError(f"{shown(value)} is a text that holds no JSON") from None
    check_depth(read)
    return read


def check_depth(value: Any) -> None:
    """Raise ValueError when arrays and objects are nested deeper than MAX_DEPTH."""
    layer, depth = [value], 0
    while layer := [inner for outer in layer for inner in _inside(outer)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested too deeply; at most {MAX_DEPTH} levels are allowed")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def variables(value: Any) -> dict[str, str]:
    """Environment variables: numbers and booleans become text, null the empty text."""
    result: dict[str, str] = {}
    wrong: list[str] = []
    for name, content in json_object(value).items():
        if name == OWN_VARIABLE:
            continue
        if not _ENV_NAME.fullmatch(name):
            wrong.append(
                f"{shown(name)} is not a variable name; letters, digits, '_', '.', '-', not starting with '.' or '-'"
            )
            continue
        try:
            result[name] = _variable(content)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if len(result) > ENV_MAX_COUNT:
        wrong.append(f"has {len(result)} variables; at most {ENV_MAX_COUNT} are allowed")
    if not wrong and sum(len(n) + len(c.encode()) for n, c in result.items()) > ENV_MAX_BYTES:
        wrong.append(f"is too big; all names and values together may have {ENV_MAX_BYTES} bytes")
    if wrong:
        raise ValueError("; ".join(wrong[:20]))
    return result


def _variable(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a text; texts, numbers, booleans and null are allowed")
    content = text(value, ENV_VALUE_MAX_BYTES)
    if len(content.encode()) > ENV_VALUE_MAX_BYTES:
        raise ValueError(f"is too long; at most {ENV_VALUE_MAX_BYTES} bytes are allowed")
    return content


def links(value: Any) -> dict[str, str]:
    """Links, service name -> alias; a missing alias is the service's name."""
    result: dict[str, str] = {}
    wrong: list[str] = []
    for name, alias in json_object(value).items():
        try:
            dns_label(name)
        except ValueError as error:
            wrong.append(str(error))
            continue
        alias = name if alias is None or alias == "" else alias
        if not isinstance(alias, str) or not _ALIAS.fullmatch(alias):
            wrong.append(f"{name}: {shown(alias)} is not an alias; letters, digits, '_', '.', '-', at most 63")
            continue
        result[name] = alias
    if len(result) > 100:
        wrong.append(f"has {len(result)} links; at most 100 are allowed")
    if wrong:
        raise ValueError("; ".join(wrong[:20]))
    return result


def preference(value: Any) -> dict[str, Any]:
    """How to deploy: an object whose known keys have the right types; other keys are kept as they are.

    `stop_grace_seconds`: 0 to 3600; `proxy_protocol`: true or false; `rollout`: an object with
    `progress_deadline_seconds`; `health`: an object with `path` (begins with /), `port`, `interval_seconds`,
    `timeout_seconds` and `failures` (1 to 100). Seconds are 0.1 to 3600.
    """
    result = dict(json_object(value))
    wrong: list[str] = []
    for key in ("health", "rollout"):
        if key in result and not isinstance(result[key], dict):
            wrong.append(f"{key}: {shown(result[key])} is not an object")
    if isinstance(result.get("health"), dict):
        readers: dict[str, Callable[[Any], Any]] = {
            "path": _path,
            "port": whole(1, 65535),
            "interval_seconds": _seconds,
            "timeout_seconds": _seconds,
            "failures": whole(1, 100),
        }
        result["health"] = _part("health", result["health"], readers, wrong)
    if isinstance(result.get("rollout"), dict):
        result["rollout"] = _part("rollout", result["rollout"], {"progress_deadline_seconds": _seconds}, wrong)
    if not isinstance(result.get("proxy_protocol", False), bool):
        wrong.append(f"proxy_protocol: {shown(result['proxy_protocol'])} is not allowed; true or false")
    if "stop_grace_seconds" in result:
        try:
            result["stop_grace_seconds"] = whole(0, 3600)(result["stop_grace_seconds"])
        except ValueError as error:
            wrong.append(f"stop_grace_seconds: {error}")
    try:
        text(json.dumps(result, ensure_ascii=False, allow_nan=False), 16 * 1024)
        if any("\x00" in piece for piece in _texts(result)):
            raise ValueError("contains a NUL character, which is not allowed")
    except (ValueError, RecursionError) as error:
        wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return result


def _part(
    name: str, part: dict[str, Any], readers: dict[str, Callable[[Any], Any]], wrong: list[str]
) -> dict[str, Any]:
    """The known keys of a part, cleaned; what is wrong with them is added to `wrong`."""
    result = dict(part)
    for key, read in readers.items():
        if key in result:
            try:
                result[key] = read(result[key])
            except ValueError as error:
                wrong.append(f"{name}.{key}: {error}")
    return result


def _path(value: Any) -> str:
    path = text(value, 1024)
    if not path.startswith("/") or not path.isprintable() or " " in path:
        raise ValueError(f"{shown(value)} is not a path; it begins with / and has no spaces")
    return path


def _seconds(value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not 0.1 <= number <= 3600:
        raise ValueError(f"{shown(value)} is not allowed; 0.1 to 3600")
    return number


def _texts(value: Any) -> list[str]:
    """All texts inside a JSON value, keys too."""
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in [k, *_texts(v)]]
    if isinstance(value, list):
        return [t for v in value for t in _texts(v)]
    return [value] if isinstance(value, str) else []
