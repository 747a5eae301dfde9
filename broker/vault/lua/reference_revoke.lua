#!lua flags=allow-oom
-- Revoke a reference; its issuer or its audience may.
-- KEYS: reference, outbox, record   ARGV: client id, event (JSON without its closing brace)
-- Answers 1, or 0 if there is none or it is not theirs.
local audience, issuer = unpack(redis.call('HMGET', KEYS[1], 'aud', 'iss'))
if not audience or (audience ~= ARGV[1] and issuer ~= ARGV[1]) then
    return 0
end
redis.call('DEL', KEYS[1])
local provider = redis.call('HGET', KEYS[3], 'p') or ''
redis.call('XADD', KEYS[2], '*', 'e', ARGV[2] .. ',"data":{"provider":"' .. provider .. '"}}')
return 1
