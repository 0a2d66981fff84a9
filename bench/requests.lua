-- What wrk sends: a movement or a shipment under a key of its own per request, or the read of a balance.
--
--   wrk -t1 -cCLIENTS -dSECONDS+1 -s requests.lua URL -- SECONDS KIND TAG SKUS API_KEYS_FILE
--
-- When SECONDS are over a connection sends nothing more: an empty request parks it. So whatever was sent is answered
-- before wrk ends, and what was accepted can be compared with what was written, to the last movement.

local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *);")
local CLOCK_MONOTONIC = 1
local moment = ffi.new("moment")

local function now_s()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
  return tonumber(moment.s) + tonumber(moment.ns) * 1e-9
end

local seconds, kind, tag, skus, ends_at
local heads = {}
asked = 0 -- global: done() reads it from the thread

function init(arguments)
  seconds, kind, tag, skus = tonumber(arguments[1]), arguments[2], arguments[3], tonumber(arguments[4])
  for api_key in io.lines(arguments[5]) do
    heads[#heads + 1] = "Host: " .. wrk.headers["Host"] .. "\r\nAuthorization: Bearer " .. api_key .. "\r\n"
  end
  math.randomseed(tonumber(moment.ns) + math.floor(now_s() * 1000) % 100000)
end

local function post(path, head, body)
  return "POST " .. path .. " HTTP/1.1\r\n" .. head .. "Content-Type: application/json\r\nIdempotency-Key: "
    .. tag .. "-" .. asked .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local function write(sku, head)
  return post("/v1/inventory/ledger", head, '{"sku":"SKU-' .. sku
    .. '","warehouse":"SEA-1","qty":1,"reason":"receipt","reference":"PO-2026-00814"}')
end

local SHIP_TO = '{"name":"Ada Lovelace","line1":"1 Shoreline Dr","city":"Seattle","state":"WA","postal":"98101",'
  .. '"country":"US"}'

local function ship(sku, head)
  return post("/v1/shipments", head, '{"order_id":"' .. tag .. "-" .. asked .. '","ship_to":' .. SHIP_TO
    .. ',"line_items":[{"sku":"SKU-' .. sku .. '","qty":' .. math.random(3) .. "}]}")
end

local function read(sku, head)
  return "GET /v1/inventory/balance?sku=SKU-" .. sku .. "&warehouse=SEA-1 HTTP/1.1\r\n" .. head .. "\r\n"
end

function request()
  if asked == 1 then
    ends_at = now_s() + seconds -- the first call was wrk's own, to see whether the request is well-formed
  elseif asked > 1 and now_s() > ends_at then
    return ""
  end
  asked = asked + 1
  local head = heads[math.random(#heads)]
  local sku = math.random(skus)
  if kind == "read" then return read(sku, head) end
  if kind == "ship" then return ship(sku, head) end
  return write(sku, head)
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency)
  io.write(string.format('{"sent": %d, "answered": %d, "refused": %d, "p50_us": %d, "p99_us": %d}\n',
    threads[1]:get("asked") - 1, summary.requests, summary.errors.status, latency:percentile(50),
    latency:percentile(99)))
end
