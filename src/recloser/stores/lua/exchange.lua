-- Carry out a batch of operations: each as a whole, all at one moment.
--
-- KEYS  revision, breakers (names by revision), transitions, beats (workers by time), then one for each operation
-- ARGV  channel, JSON {terms, operations}, seconds after which a worker is not alive, transitions kept,
--       a clock for tests or ''
--
-- Returns JSON [now, revision before, revision after, answers]; an answer is
-- [record or null where the asker has it already, won, is_conflict, wait, is_wanted, grants].

local batch = cjson.decode(ARGV[2])
if ARGV[5] == '' then
    local time = redis.call('TIME')
    now = tonumber(time[1]) + tonumber(time[2]) / 1e6
else
    now = tonumber(ARGV[5])
end
local living
alive = function()
    living = living or redis.call('ZCOUNT', KEYS[4], '(' .. number_text(now - tonumber(ARGV[3])), '+inf')
    return living
end

local before = tonumber(redis.call('GET', KEYS[1]) or '0')
local revision, changed, names = before, {}, {}

local function save(entry, told)
    if entry.is_news then
        revision = revision + 1
        record_of(entry).revision = revision
        entry.revision, entry.record_text = number_text(revision), record_text(entry.record)
        if not changed[told.breaker] then names[#names + 1] = told.breaker end
        changed[told.breaker] = entry.record_text
        redis.call('ZADD', KEYS[2], revision, told.name)
    end
    if entry.transition then
        redis.call('LPUSH', KEYS[3], number_text(revision) .. ' ' .. json(entry.transition))
    end
    local fields = {}
    local function write(field, value) fields[#fields + 1], fields[#fields + 2] = field, value end
    if entry.is_new_epoch then
        redis.call('DEL', entry.key)  -- its buckets, and whatever time it was given
        write('epoch', entry.epoch)
        write('state', entry.state)
        write('mode', entry.mode)
    end
    if entry.is_news then
        write('revision', entry.revision)
        write('record', entry.record_text)
    end
    if entry.rest then
        local text = rest_text(entry.rest)
        if text ~= entry.rest_text or entry.is_new_epoch then write('rest', text) end
    end
    if entry.written and entry.buckets[entry.written] then write(entry.written, entry.buckets[entry.written]) end
    if #fields == 0 then return end
    redis.call('HSET', entry.key, unpack(fields))
    if not entry.is_new_epoch and #entry.dropped > 0 then redis.call('HDEL', entry.key, unpack(entry.dropped)) end
    if entry.is_new_epoch and not is_at_rest(entry.record) then return end
    if entry.is_new_epoch or not entry.exists then
        redis.call('EXPIRE', entry.key, AT_REST)
        redis.call('ZADD', KEYS[2], 'NX', 0, told.name)
    end
end

local answers = {}
for index, told in ipairs(batch.operations) do
    local entry = load_entry(KEYS[4 + index])
    entry.dropped = {}
    local answer = {wait = 0, is_wanted = false, is_conflict = false, grants = {}}
    RULES[told.kind](entry, told, batch.terms[told.terms], answer)
    save(entry, told)
    local known = entry.epoch == told.known[1] and entry.revision == told.known[2]
    local won = string.match(entry.epoch, ':(.+)$') == told.tag and entry.epoch ~= '0:0'
    answers[index] = '[' .. (known and 'null' or entry.record_text) .. ',' ..
        json({won, answer.is_conflict, answer.wait, answer.is_wanted, answer.grants}):sub(2)
end

local told_now = number_text(now)
if revision ~= before then
    redis.call('SET', KEYS[1], number_text(revision))
    redis.call('LTRIM', KEYS[3], 0, tonumber(ARGV[4]) - 1)
    local records = {}
    for index, name in ipairs(names) do records[index] = '[' .. json(name) .. ',' .. changed[name] .. ']' end
    -- Last, and by `pcall`: who may not publish has still done all the rest (SEMANTICS D8).
    redis.pcall('PUBLISH', ARGV[1], '[' .. told_now .. ',' .. number_text(before) .. ',' ..
        number_text(revision) .. ',[' .. table.concat(records, ',') .. ']]')
end
return '[' .. told_now .. ',' .. number_text(before) .. ',' .. number_text(revision) ..
    ',[' .. table.concat(answers, ',') .. ']]'
