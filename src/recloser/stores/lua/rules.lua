-- The fleet's rules: rules.py in another language, function by function. Change both, and the tests compare them.

local BUCKETS = 10
local EXPIRIES_THAT_REOPEN = 3
local ASKING = 2.0
local EXPIRED_KEPT = 64
local TOKENS_KEPT = 16
local EARLY = 0.005
local FORCED = {forced_open = true, forced_closed = true}
local RESTRICTION = {auto = 0, shadow = 1, forced_closed = 2, forced_open = 3}

local now, alive  -- of this run; `alive` is a function, as most runs do not ask

-- Whether something that lasts no longer than `longest` is to end, also by a clock set back.
local function is_ahead(finish, longest)
    return now < finish and finish <= now + longest + SET_BACK
end

local function keep_last(list, most)
    while #list > most do table.remove(list, 1) end
end

-- A place is {id, worker, renewed, deadline, is_used}; the order is that of the grants.
local function place_at(entry, id)
    for index, place in ipairs(rest(entry).places) do
        if place[1] == id then return place, index end
    end
end

local function take_place(entry, id)
    local place, index = place_at(entry, id)
    if index then table.remove(rest(entry).places, index) end
    return place
end

local function index_of(list, wanted)
    for index, value in ipairs(list) do
        if value == wanted then return index end
    end
end

-- Transitions ------------------------------------------------------------------------------------------------

local function enter(entry, told, state, cause, new)
    local before = record_of(entry)
    local last_failure = new.last_failure or ''
    if last_failure == '' then last_failure = before.last_failure end
    entry.record = {
        epoch = {before.epoch[1] + 1, told.tag},
        state = state,
        since = now,
        open_until = new.open_until or 0,
        reopenings = new.reopenings or 0,
        cause = cause,
        override = new.override or before.override,
        last_failure = last_failure,
        revision = 0,
    }
    local fresh = empty_rest()
    fresh.tokens = rest(entry).tokens
    entry.rest = fresh
    entry.buckets = {}
    entry.is_news, entry.is_new_epoch = true, true
    entry.epoch, entry.state, entry.mode = epoch_text(entry.record.epoch), state, entry.record.override[1]
    entry.transition = {now, told.breaker, told.worker, before.state, state, before.override[1], entry.mode, cause}
end

local function open_period(terms, reopenings, jitter, retry_after)
    local period = terms.recovery_timeout * terms.recovery_backoff ^ reopenings
    period = math.min(period, terms.recovery_timeout_max)
    period = period * (1 + terms.recovery_jitter * (2 * jitter - 1))
    if terms.honor_retry_after then
        period = math.max(period, math.min(retry_after, terms.recovery_timeout_max))
    end
    return period
end

local function open(entry, told, terms, cause, reopenings, last_failure, retry_after)
    local period = open_period(terms, reopenings, told.jitter, retry_after or 0)
    enter(entry, told, 'open', cause,
        {open_until = now + period, reopenings = reopenings, last_failure = last_failure})
end

-- Closed -----------------------------------------------------------------------------------------------------

local function count(entry, told, terms)
    local width = terms.window_seconds / BUCKETS
    if width == 0 or (told.calls == 0 and told.failures == 0 and told.slow == 0) then return end
    local field = 'w:' .. number_text(width) .. ':' .. number_text(math.floor(now / width))
    local counts = entry.buckets[field] and counts_of(entry.buckets[field]) or {0, 0, 0}
    entry.buckets[field] = number_text(counts[1] + told.calls) .. ' ' ..
        number_text(counts[2] + told.failures) .. ' ' .. number_text(counts[3] + told.slow)
    entry.written = field
    for other in pairs(entry.buckets) do
        local other_width, number = bucket_of(other)
        other_width = tonumber(other_width)
        if not is_ahead((number + BUCKETS) * other_width, BUCKETS * other_width) then
            entry.dropped[#entry.dropped + 1] = other
        end
    end
    for _, other in ipairs(entry.dropped) do entry.buckets[other] = nil end
end

local function judged(entry, terms)
    local width = terms.window_seconds / BUCKETS
    if width == 0 then return end
    local own, oldest = number_text(width), math.floor(now / width) - BUCKETS + 1
    local calls, failures, slow = 0, 0, 0
    for field, value in pairs(entry.buckets) do
        local other_width, number = bucket_of(field)
        if other_width == own and number >= oldest then
            local counts = counts_of(value)
            calls, failures, slow = calls + counts[1], failures + counts[2], slow + counts[3]
        end
    end
    if calls < terms.minimum_calls or calls == 0 then return end
    if terms.failure_rate ~= 0 and failures / calls >= terms.failure_rate then
        return {'failure_rate', failures, calls, terms.failure_rate, '', ''}
    end
    if terms.slow_rate ~= 0 and slow / calls >= terms.slow_rate then
        return {'slow_call_rate', slow, calls, terms.slow_rate, '', ''}
    end
end

-- A vote is {worker, until}.
local function trip(entry, told, terms)
    local votes = {{told.worker, now + told.trip.vote_ttl}}
    for _, vote in ipairs(rest(entry).votes) do
        if vote[1] ~= told.worker then votes[#votes + 1] = vote end
    end
    local living = {}
    for _, vote in ipairs(votes) do
        if is_ahead(vote[2], told.trip.vote_ttl) then living[#living + 1] = vote end
    end
    rest(entry).votes = living
    local quorum = terms.trip_quorum
    if quorum <= 1 or #living >= math.min(quorum, math.max(1, alive())) then
        local longest = terms.recovery_timeout_max * (1 + terms.recovery_jitter)
        enter(entry, told, 'open', told.trip.cause, {
            open_until = now + math.min(told.trip.period, longest),
            reopenings = told.trip.reopenings,
            last_failure = told.trip.last_failure,
        })
    end
end

local function reopenings_after(record, terms)
    local after_probes = record.cause ~= NULL and record.cause[1] == 'probes_succeeded'
    if after_probes and now - record.since < terms.lasting then return record.reopenings + 1 end
    return 0
end

local function flush(entry, told, terms)
    if told.epoch ~= entry.epoch or entry.state ~= 'closed' then return end
    count(entry, told, terms)
    if entry.mode == 'forced_closed' then return end
    if told.trip ~= NULL then return trip(entry, told, terms) end
    local cause = judged(entry, terms)
    if cause then
        local reopenings = reopenings_after(record_of(entry), terms)
        open(entry, told, terms, cause, reopenings, told.last_failure, told.retry_after)
    end
end

-- Open and half-open -----------------------------------------------------------------------------------------

local function another_asks(entry, worker)
    local asker = rest(entry).asker
    return asker[1] ~= '' and asker[1] ~= worker and is_ahead(asker[2], ASKING)
end

local function invite(entry, worker)
    if another_asks(entry, worker) then entry.is_news = true end
end

local function renew(entry, asked, terms)
    for _, id in ipairs(asked.used) do
        local place = place_at(entry, id)
        if place then place[5] = true end
    end
    local renewed = {}
    for _, id in ipairs(asked.kept) do
        local place = place_at(entry, id)
        if place and not place[5] then renewed[#renewed + 1] = place end
    end
    for _, place in ipairs(renewed) do
        place[3], place[4] = now, now + terms.probe_timeout
    end
    return renewed
end

local function expire(entry, told, terms)
    local held = rest(entry)
    local living = {}
    for _, place in ipairs(held.places) do
        if place[4] > now and place[3] <= now + SET_BACK then
            living[#living + 1] = place
        else
            if place[5] then held.expiries = held.expiries + 1 end
            held.expired[#held.expired + 1] = place[1]
            keep_last(held.expired, EXPIRED_KEPT)
        end
    end
    held.places = living
    if held.expiries < EXPIRIES_THAT_REOPEN then return false end
    local record = record_of(entry)
    local cause = {'probe_timeout', held.expiries, 0, 0, '', ''}
    open(entry, told, terms, cause, record.reopenings + 1, record.last_failure)
    return true
end

local function grant(entry, asked, terms)
    local held = rest(entry)
    local most, granted = terms.half_open_max_calls, {}
    for number = 0, math.min(asked.wanted, most) - 1 do
        local id = asked.tag .. '-' .. number_text(number)
        local place = place_at(entry, id)
        if not place and #held.places < most then
            place = {id, asked.worker, now, now + terms.probe_timeout, false}
            held.places[#held.places + 1] = place
        end
        if place then granted[#granted + 1] = place end  -- also where it is asked for again
    end
    return granted
end

local function lease(entry, asked, terms, answer)
    if FORCED[entry.mode] then return end
    local began = entry.state == 'half_open' and record_of(entry).epoch[2] == asked.tag
    if asked.epoch ~= entry.epoch and not began then return end
    local record = record_of(entry)
    local is_due = now >= record.open_until - EARLY or record.since > now + SET_BACK
    if entry.state == 'open' and asked.wanted > 0 and is_due then
        enter(entry, asked, 'half_open', {'recovery_due', 0, 0, 0, '', ''}, {reopenings = record.reopenings})
    elseif entry.state ~= 'half_open' then
        answer.wait = math.max(0, record.open_until - now)
        return
    end
    for _, id in ipairs(asked.back) do
        if take_place(entry, id) then invite(entry, asked.worker) end
    end
    local renewed = renew(entry, asked, terms)
    if expire(entry, asked, terms) then return end
    local granted = grant(entry, asked, terms)
    for _, list in ipairs({renewed, granted}) do
        for _, place in ipairs(list) do
            answer.grants[#answer.grants + 1] = {place[1], place[4] - now}
        end
    end
    local held = rest(entry)
    if #granted < asked.wanted then
        local first = #held.places > 0 and math.huge or now
        for _, place in ipairs(held.places) do first = math.min(first, place[4]) end
        answer.wait = math.max(0, first - now)
        held.asker = {asked.worker, now + ASKING}
    elseif asked.wanted > 0 and held.asker[1] == asked.worker then
        held.asker = {'', 0}
    end
    answer.is_wanted = #renewed > 0 and another_asks(entry, asked.worker)
end

local function settle(entry, told, terms)
    if told.epoch ~= entry.epoch or entry.state ~= 'half_open' then return end
    local held, record = rest(entry), record_of(entry)
    local place, late = take_place(entry, told.lease), index_of(held.expired, told.lease)
    if not place and not late then return end  -- settled already: an operation may be repeated
    if not told.counts then
        invite(entry, told.worker)
        expire(entry, told, terms)
        return
    end
    if late then
        table.remove(held.expired, late)
        held.expiries = math.max(0, held.expiries - 1)
    end
    if told.failed or told.slow then
        local cause = {told.failed and 'probe_failed' or 'probe_slow', 1, 0, 0, '', ''}
        return open(entry, told, terms, cause, record.reopenings + 1, told.last_failure, told.retry_after)
    end
    held.successes = held.successes + 1
    if held.successes >= terms.success_threshold then
        local cause = {'probes_succeeded', held.successes, 0, terms.success_threshold, '', ''}
        enter(entry, told, 'closed', cause, {reopenings = record.reopenings})
    else
        invite(entry, told.worker)
        expire(entry, told, terms)
    end
end

-- Operators and restoration ----------------------------------------------------------------------------------

local function force(entry, asked, _, answer)
    local tokens = rest(entry).tokens
    if index_of(tokens, asked.tag) then return end
    if asked.expected ~= NULL and asked.expected ~= entry.epoch then
        answer.is_conflict = true
        return
    end
    tokens[#tokens + 1] = asked.tag
    keep_last(tokens, TOKENS_KEPT)
    local record, override = record_of(entry), asked.override
    if asked.resets then
        local cause = {'reset', 0, 0, 0, override[2], override[3]}
        return enter(entry, asked, entry.mode == 'forced_open' and 'open' or 'closed', cause, {})
    end
    local cause = {'mode', 0, 0, 0, override[2], override[3]}
    if FORCED[override[1]] or FORCED[entry.mode] then
        local state = override[1] == 'forced_open' and 'open' or 'closed'
        return enter(entry, asked, state, cause, {override = override})
    end
    enter(entry, asked, entry.state, cause, {
        override = override,
        open_until = record.open_until,
        reopenings = record.reopenings,
        last_failure = record.last_failure,
    })
    entry.record.cause, entry.record.since = record.cause, record.since
end

-- Whether the first record restricts callers more than the second.
local function is_stricter(mine, theirs)
    local mode, other_mode = RESTRICTION[mine.override[1]], RESTRICTION[theirs.override[1]]
    if mode ~= other_mode then return mode > other_mode end
    local is_open = mine.state ~= 'closed' and mine.open_until > now
    local other_is_open = theirs.state ~= 'closed' and theirs.open_until > now
    if is_open ~= other_is_open then return is_open end
    return mine.epoch[1] > theirs.epoch[1]
end

local function sync(entry, asked)
    if asked.epoch == NULL or asked.epoch == entry.epoch then return end
    local theirs, mine = record_of(entry), asked.record
    if theirs.epoch[1] > mine.epoch[1] then return end
    mine.since = now
    mine.open_until = 0
    if mine.state == 'half_open' then mine.state = 'open' end  -- its leases are gone with the store that knew them
    if mine.state == 'open' and mine.override[1] ~= 'forced_open' then  -- also one that is due: it must end
        mine.open_until = now + asked.remaining
    end
    local kept = is_stricter(mine, theirs) and mine or theirs
    local cause, since = kept.cause, kept.since
    theirs.epoch[1] = math.max(theirs.epoch[1], mine.epoch[1])
    enter(entry, asked, kept.state, {'restored', 0, 0, 0, '', ''}, {
        override = kept.override,
        open_until = kept.open_until,
        reopenings = kept.reopenings,
        last_failure = kept.last_failure,
    })
    entry.record.cause, entry.record.since = cause, since
end

local RULES = {flush = flush, lease = lease, settle = settle, force = force, sync = sync}
