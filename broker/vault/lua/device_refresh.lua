#!lua
-- A refresh token of ours comes back (RFC 6749 §6, RFC 9700 §4.14.2). The current one is replaced. Its predecessor is
-- answered as before for a while, as long as its successor was not used: an answer was lost, or two programs of one
-- machine came at once. Any other of this device session was used up long ago: somebody has a copy, so the session ends.
-- How long ago a token was replaced is told by the store's clock: replicas' clocks may differ by more than that.
-- KEYS: record, device sessions, outbox, due
-- ARGV: now (ms), client id, device session id, digest of the token, digest of its successor, salt of
--       its successor, how long a predecessor is answered (ms), when the session ends now (ms), event of its end,
--       connection id
-- Answers {"unknown"}, {"reused"}, {"rotated", session}, or {"again", session, salt of the successor}.
local now = tonumber(ARGV[1])
local tenant, status = unpack(redis.call('HMGET', KEYS[1], 't', 'st'))
local stored = redis.call('HGET', KEYS[2], ARGV[3])
if not stored or not tenant or tenant == '' or status == 'revoked' then
    return {'unknown'}
end
local session, time = cjson.decode(stored), redis.call('TIME')
local here = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if session.client_id ~= ARGV[2] or session.tenant ~= tenant or tonumber(session.expires_at) <= now then
    return {'unknown'}
end
if session.current == ARGV[4] then
    session.previous, session.current, session.salt = session.current, ARGV[5], ARGV[6]
    session.rotated_at, session.last_used_at, session.expires_at = here, now, tonumber(ARGV[8])
    local renewed = cjson.encode(session)
    redis.call('HSET', KEYS[2], ARGV[3], renewed)
    redis.call('ZADD', KEYS[4], ARGV[8], 'abandon:' .. ARGV[10])
    return {'rotated', renewed}
end
if session.previous == ARGV[4] and here - tonumber(session.rotated_at) <= tonumber(ARGV[7]) then
    return {'again', stored, session.salt}
end
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[4], ARGV[1], 'abandon:' .. ARGV[10])
redis.call('XADD', KEYS[3], '*', 'e', ARGV[9])
return {'reused', stored}
