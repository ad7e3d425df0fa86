"""Parameters that nobody reads: named in the answer's X-Warnings header, or refused with strict=true."""

from __future__ import annotations

import difflib

from flask import request
from pydantic import BaseModel

from api.errors import ApiError
from orchestrator.spec_text import shown

_OF_OLD_CLIENTS = frozenset({"application"})  # sent with everything; a service is found without it


def unknown_keys(query: BaseModel) -> dict[str, str]:
    """The header that names the unknown ones, or none. Raises ApiError 400 when the query is `strict`."""
    known = set(type(query).model_fields)
    faults: dict[str, list[str]] = {}
    for key in request.args:
        if key not in known | _OF_OLD_CLIENTS:
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"known ones: {', '.join(sorted(known))}"
            faults[key] = [f"is not a known parameter; {hint}"]
    if faults and getattr(query, "strict", False):
        raise ApiError(400, "; ".join(f"{shown(key)}: {said[0]}" for key, said in faults.items()), fields=faults)
    words = "; ".join(f"unknown parameter {shown(key)} was ignored" for key in faults)
    return {"X-Warnings": words.encode("ascii", "backslashreplace").decode()} if words else {}
