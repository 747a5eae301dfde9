#!lua
-- Release an access token: read the record, spend the reference, write the audit event. All or nothing.
-- KEYS: record, outbox[, reference]
-- ARGV: now (ms), the moment the token must outlive (ms), tenant, providers ("*" or ",a,b,"), providers whose tokens may
--       be released (",a,b,"), client id, generation the provider refused ("" = none), event (JSON without its closing
--       brace), name of this attempt, what else the event says (members of its data, each after a comma), grant the
--       record must have ("" = any), then names of fields to answer beside the token
-- Answers {"ok", generation, expiry, grant, scopes, sealed access token, provider, field, …} or {"absent"},
--         {"moved"}: another grant, {"reference"}, {"status", status}, {"withheld", provider}, {"stale", generation},
--         {"scopes", scope, …}: those that the reference needs and the connection lacks, or {"damaged"}: the record holds
--         what nobody wrote there. Only "ok" changes anything.
-- A repeat by the attempt's name spends nothing more: its first answer was lost.
-- Not allow-oom: when memory is full no event can be written, and no token leaves without its event.
local now = tonumber(ARGV[1])
local tenant, provider, status, generation, expiry, grant, scopes, sealed, used =
    unpack(redis.call('HMGET', KEYS[1], 't', 'p', 'st', 'g', 'x', 'gr', 'sc', 'a', 'u'))

-- A record that is cut short is nobody's, as one without a tenant is.
if not (tenant and provider and status and generation and expiry and grant and scopes)
    or tenant == '' or tenant ~= ARGV[3] then
    return {'absent'}
end
-- What is no name of a provider was written by nobody; and it is put into the event as it stands here.
if #provider > 64 or not string.find(provider, '^%l[%l%d_-]*$') then
    return {'damaged'}
end
if ARGV[4] ~= '*' and not string.find(ARGV[4], ',' .. provider .. ',', 1, true) then
    return {'absent'}
end
if ARGV[11] ~= '' and grant ~= ARGV[11] then
    return {'moved'}
end

local uses, repeated, needed
if KEYS[3] then
    local audience, left, ends, attempt, need = unpack(redis.call('HMGET', KEYS[3], 'aud', 'left', 'exp', 'by', 'need'))
    repeated = attempt == ARGV[9]
    if not audience or audience ~= ARGV[6] or tonumber(ends) <= now then
        return {'reference'}
    end
    uses, needed = tonumber(left), need or ''
    if uses < 1 and not repeated then
        return {'reference'}
    end
end

if status ~= 'active' then
    return {'status', status}
end
if not string.find(ARGV[5], ',' .. provider .. ',', 1, true) then
    return {'withheld', provider}
end
-- The generation is put into the event, too. It was counted from 1 on, and never had so many digits that it loses some.
local ends = expiry ~= '' and tonumber(expiry)
if not sealed or ends == nil or #generation > 15 or not string.find(generation, '^[1-9]%d*$') then
    return {'damaged'}
end
if generation == ARGV[7] or (ends and ends <= tonumber(ARGV[2])) then
    return {'stale', generation}
end

if needed then
    local lacking = {'scopes'}
    for scope in string.gmatch(needed, '%S+') do
        if not string.find(' ' .. scopes .. ' ', ' ' .. scope .. ' ', 1, true) then
            lacking[#lacking + 1] = scope
        end
    end
    if #lacking > 1 then
        return lacking
    end
end

-- First of the writes: where no event can be written, nothing is spent.
redis.call('XADD', KEYS[2], '*', 'e',
    ARGV[8] .. ',"data":{"provider":"' .. provider .. '","generation":' .. generation .. ARGV[10] .. '}}')
if uses and not repeated then
    redis.call('HSET', KEYS[3], 'left', uses - 1, 'by', ARGV[9])
    if uses == 1 then
        -- Spent, and kept for as long as release_undo may want to give the use back.
        redis.call('PEXPIRE', KEYS[3], math.min(10000, tonumber(redis.call('PTTL', KEYS[3]))))
    end
end
-- Once a minute is precise enough to tell who is used lately, and spares a write per fetch.
local last = tonumber(used)
if not last or now - last > 60000 then
    redis.call('HSET', KEYS[1], 'u', ARGV[1])
end
local answer = {'ok', generation, expiry, grant, scopes, sealed, provider}
if #ARGV > 11 then
    for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, 12))) do
        answer[7 + i] = value
    end
end
return answer
