#!lua
-- A machine asks whether it may log in (RFC 8628 §3.4): judge its device code, its pace, and what became of it. One answer
-- "approved" per device authorization, ever.
-- KEYS: device authorization
-- ARGV: now (ms), client id, digest of the device code, how early a poll may come without being too early (ms), name of
--       this poll: asked again by it, because its first answer was lost, it is neither too early nor too late
-- Answers {"unknown"}, {"spent"}, {"expired"}, {"denied"}, {"approved"}, {"slow_down", interval}, {"pending", interval}, or
-- {"ask", interval}: it is time to ask the provider, and nobody else does until the answer says when to ask again, or
-- whoever asks must be dead.
local now = tonumber(ARGV[1])
local status, ends, client, code, polled, interval, ask_at, takes, by = unpack(redis.call('HMGET', KEYS[1],
    'status', 'expires_at', 'client', 'device_code', 'polled_at', 'interval', 'ask_at', 'ask_takes', 'polled_by'))
if not status or client ~= ARGV[2] or code ~= ARGV[3] then
    return {'unknown'}
end
local repeated = by == ARGV[5]
if status == 'spent' and repeated then
    return {'approved'}
end
if status == 'spent' or status == 'denied' then
    return {status}
end
if tonumber(ends) <= now then
    return {'expired'}
end
if status == 'approved' then
    redis.call('HSET', KEYS[1], 'status', 'spent', 'polled_by', ARGV[5])
    return {'approved'}
end
interval = tonumber(interval)
if polled and not repeated and now < tonumber(polled) + interval * 1000 - tonumber(ARGV[4]) then
    interval = interval + 5
    redis.call('HSET', KEYS[1], 'polled_at', ARGV[1], 'interval', interval, 'polled_by', ARGV[5])
    return {'slow_down', interval}
end
redis.call('HSET', KEYS[1], 'polled_at', ARGV[1], 'polled_by', ARGV[5])
if status == 'pending' and ask_at and ask_at ~= '' and tonumber(ask_at) <= now then
    redis.call('HSET', KEYS[1], 'ask_at', now + tonumber(takes) * 1000)
    return {'ask', interval}
end
return {'pending', interval}
