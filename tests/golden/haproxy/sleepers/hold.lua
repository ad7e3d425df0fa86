-- Holds a request while its backend has no server, and has the worker wake the service. Made by Skylark.
local map_file = "/home/haproxy/sleepers.map"
local wake_address = "abns@skylark-592896ec4ea0fb5a-wake"
local held_header = "X-Skylark-Held"
local handover = "handover"
local hold_ms = 30000
local most = 100
local most_of_all = 1000
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
    if line:connect(wake_address) then line:send(uuid .. "\n") end
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
