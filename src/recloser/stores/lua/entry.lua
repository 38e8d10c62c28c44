-- All that is stored of one breaker: a hash. Counting reads and writes its buckets alone; the record and the rest
-- are JSON, looked into only where something else than counting happens.
--
--   epoch, state, mode   of the record, as plain text
--   revision             of the record
--   record               the record as JSON (record.py), never decoded where it only passes through
--   rest                 places, expired, expiries, successes, asker, votes, tokens
--   w:WIDTH:NUMBER       a bucket: "calls failures slow"

local NULL = cjson.null
local UNKNOWN = '{"epoch":[0,"0"],"state":"closed","since":0,"open_until":0,"reopenings":0,"cause":null,' ..
    '"override":["auto","","",null],"last_failure":"","revision":0}'

-- Seconds must not lose digits: `tostring` and cjson keep 14.
local function number_text(value)
    return string.format('%.17g', value)
end

-- Write JSON. Every table is a list, as Lua does not tell an empty list from an empty object.
local function json(value)
    local kind = type(value)
    if kind == 'number' then return number_text(value) end
    if kind == 'string' then return cjson.encode(value) end
    if kind == 'boolean' then return tostring(value) end
    if kind ~= 'table' then return 'null' end
    local parts = {}
    for index = 1, #value do parts[index] = json(value[index]) end
    return '[' .. table.concat(parts, ',') .. ']'
end

local function record_text(record)
    return '{"epoch":' .. json(record.epoch) ..
        ',"state":' .. json(record.state) ..
        ',"since":' .. json(record.since) ..
        ',"open_until":' .. json(record.open_until) ..
        ',"reopenings":' .. json(record.reopenings) ..
        ',"cause":' .. json(record.cause) ..
        ',"override":' .. json(record.override) ..
        ',"last_failure":' .. json(record.last_failure) ..
        ',"revision":' .. json(record.revision) .. '}'
end

local function epoch_text(epoch)
    return number_text(epoch[1]) .. ':' .. epoch[2]
end

-- A bucket's width is compared as text: the same digits are the same number.
local function bucket_of(field)
    local width, number = string.match(field, '^w:([^:]+):(.+)$')
    return width, tonumber(number)
end

local function counts_of(value)
    local calls, failures, slow = string.match(value, '^(%S+) (%S+) (%S+)$')
    return {tonumber(calls), tonumber(failures), tonumber(slow)}
end

local function empty_rest()
    return {places = {}, expired = {}, expiries = 0, successes = 0, asker = {'', 0}, votes = {}, tokens = {}}
end

local function rest_text(rest)
    return json({rest.places, rest.expired, rest.expiries, rest.successes, rest.asker, rest.votes, rest.tokens})
end

local NO_REST = rest_text(empty_rest())

local function rest_of(text)
    local kept = cjson.decode(text)
    return {places = kept[1], expired = kept[2], expiries = kept[3], successes = kept[4], asker = kept[5],
        votes = kept[6], tokens = kept[7]}
end

local function load_entry(key)
    local entry = {key = key, epoch = '0:0', state = 'closed', mode = 'auto', revision = '0',
        record_text = UNKNOWN, rest_text = NO_REST, buckets = {}, exists = false}
    local held = redis.call('HGETALL', key)
    for index = 1, #held, 2 do
        local field, value = held[index], held[index + 1]
        if field == 'record' then entry.record_text = value
        elseif field == 'rest' then entry.rest_text = value
        elseif string.sub(field, 1, 2) == 'w:' then entry.buckets[field] = value
        else entry[field] = value
        end
    end
    entry.exists = #held > 0
    return entry
end

local function record_of(entry)
    if not entry.record then entry.record = cjson.decode(entry.record_text) end
    return entry.record
end

local function rest(entry)
    if not entry.rest then entry.rest = rest_of(entry.rest_text) end
    return entry.rest
end

-- A breaker's time of grace where nothing is lost with its record (SEMANTICS D9).
local AT_REST = 86400

-- Seconds by which a moment lies in the future where the clock has been set back: its distance means nothing.
local SET_BACK = 1.0

local function is_at_rest(record)
    return record.state == 'closed' and record.override[1] == 'auto' and record.reopenings == 0
end
