"""The part of the proxy that holds requests to services that sleep: its program in Lua, and what it is told. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

SLEEPERS = "sleepers.map"  # backend -> uuid of its service, of those that may be held for
PROGRAM_FILE = "hold.lua"
HANDOVER = "handover"  # the backend by which an old worker gives what it holds to the new one
HELD_HEADER = "X-Skylark-Held"  # on that way only: milliseconds held so far

# Every held request looks for itself: 10 ms are little beside a start. Sixty of them cost 6 % of a core; more than a
# hundred look less often. A request whose client went away is ended by HAProxy without a word to the program: its sign
# of life is missing then.
_PROGRAM = """\
local sleepers = Map.new(map_file, Map._str)
local held, last_call, ids, crowd = {}, {}, 0, 0

local function now_ms()
    local now = core.now()
    return now.sec * 1000 + now.usec // 1000
end

-- (held for this backend, held for all), of those that looked within the last second
local function count(backend, now)
    local here, all = 0, 0
    for id, entry in pairs(held) do
        if now - entry.seen > 1000 then
            held[id] = nil
        else
            all = all + 1
            if entry.backend == backend then here = here + 1 end
        end
    end
    crowd = all
    return here, all
end

-- Lost when no worker listens; said again every second, as long as anybody waits
local function call(uuid, now)
    if now - (last_call[uuid] or 0) < 1000 then return end
    last_call[uuid] = now
    local line = core.tcp()
    line:settimeout(1)
    if line:connect(wake_address) then line:send(uuid .. "\\n") end
    line:close()
end

core.register_action("hold", { "http-req" }, function(txn)
    local backend = txn:get_var("txn.backend")
    local began = now_ms()
    local before = txn.http:req_get_headers()[string.lower(held_header)]
    if before then began = began - (tonumber(before[0]) or 0) end
    txn.http:req_del_header(held_header)
    local here, all = count(backend, began)
    if here >= most or all >= most_of_all then return end
    ids = ids + 1
    local id, entry = ids, { backend = backend, seen = began }
    held[id] = entry
    while true do
        local now = now_ms()
        entry.seen = now
        held[id] = entry
        if txn.c:nbsrv(backend) > 0 or now - began >= hold_ms then break end
        local stopping = txn.f:stopping()
        if stopping == 1 or stopping == true then -- 1 in HAProxy 2.6
            txn.http:req_set_header(held_header, tostring(now - began))
            txn:set_var("txn.backend", handover)
            break
        end
        local uuid = sleepers:lookup(backend)
        if not uuid then break end
        call(uuid, now)
        core.msleep(math.max(now - began < 10000 and 10 or 50, crowd // 10))
    end
    held[id] = nil
end, 0)
"""


def may_sleep(spec: Mapping[str, Any]) -> bool:
    """Whether a stored spec lets the autoscaler take the last instance away, and a request bring it back.

    A dry run takes none away; who sleeps already is woken all the same.
    """
    config = spec.get("autoscaling_config") or {}
    wanted = spec.get("target_state") == "STARTED" and spec.get("scaling_mode") == "AUTO"
    return wanted and config.get("minimum_num_instances") == 0


def program(folder: str, hold_seconds: float, most: int, most_of_all: int) -> str:
    """The program's text. It holds for so long, so many for one service and for all together."""
    given = {
        "map_file": f'"{folder}/{SLEEPERS}"',
        "wake_address": f'"{wake_address(folder)}"',
        "held_header": f'"{HELD_HEADER}"',
        "handover": f'"{HANDOVER}"',
        "hold_ms": f"{hold_seconds * 1000:.0f}",
        "most": str(most),
        "most_of_all": str(most_of_all),
    }
    head = "-- Holds a request while its backend has no server, and has the worker wake the service. Made by Skylark.\n"
    return head + "".join(f"local {name} = {value}\n" for name, value in given.items()) + _PROGRAM


def wake_address(folder: str) -> str:
    """Where the worker listens for who is to wake; `abstract_path` is the same for its socket."""
    return f"abns@{_name(folder)}-wake"


def handover_address(folder: str) -> str:
    """Where HAProxy takes over from its old worker."""
    return f"abns@{_name(folder)}-held"


def abstract_path(address: str) -> bytes:
    """An abstract socket's name as the kernel compares it: HAProxy fills it up with zeros."""
    return b"\0" + address.removeprefix("abns@").encode().ljust(107, b"\0")


def _name(folder: str) -> str:
    """Abstract, as the proxy's unprivileged worker may not enter the folder; one for each proxy of a host."""
    return f"skylark-{hashlib.sha256(folder.encode()).hexdigest()[:16]}"
