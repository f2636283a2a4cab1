// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// A part of the store's table, which one lock guards: answers, the fetches under way, and what must not be stored any more. Pure: no clock, no
/// lock, no waking; what has to be woken is returned.
struct CacheShard {
    private final class Entry {
        /// Slots of the answers to this key, the newest last.
        var slots: [Int] = []
        var fills: [Fill] = []
        var isEmpty: Bool { slots.isEmpty && fills.isEmpty }
    }

    /// Of one key more variants are not kept: it bounds the step under the lock.
    static let variantLimit = 64

    private var entries: [CacheKey: Entry] = [:]
    private var answers: [StoredAnswer?] = []
    private var lru: SegmentedLRU
    private var limit: Int
    private var tags: [UInt64: Set<Int>] = [:]
    private var nextFill: UInt64 = 0
    private var passes = PassTable()
    private var changes = ChangeTable()
    private(set) var evictions: UInt64 = 0

    init(limit: Int) {
        self.limit = limit
        lru = SegmentedLRU(limit: limit)
    }

    var bytes: Int { lru.bytes }
    private(set) var count = 0
    /// Removed in this step: they are freed outside the lock.
    private var dropped: [StoredAnswer] = []

    mutating func takeDropped() -> [StoredAnswer] {
        if dropped.isEmpty { return [] }
        defer { dropped = [] }
        return dropped
    }

    // MARK: Looking

    /// The answer to a request: the newest whose variant it matches (§4.1).
    func find(_ key: CacheKey, _ partition: [UInt8], _ request: borrowing FieldSection) -> (slot: Int, answer: StoredAnswer)? {
        guard let entry = entries[key] else { return nil }
        for slot in entry.slots.reversed() {
            if let answer = answers[slot], answer.partition == partition, answer.variant.matches(request) { return (slot, answer) }
        }
        return nil
    }

    /// Whether anything of the key is stored, of any variant.
    func hasOther(_ key: CacheKey, _ partition: [UInt8]) -> Bool {
        entries[key]?.slots.contains { answers[$0]?.partition == partition } ?? false
    }

    mutating func touch(_ slot: Int) { lru.touch(slot) }

    // MARK: Fetches

    func isPassed(_ key: CacheKey, now: Instant) -> Bool { passes.contains(key, now: now) }

    /// The variant that a request is of, as the newest answer to the key has it.
    func scope(_ key: CacheKey, _ partition: [UInt8], _ request: borrowing FieldSection) -> Variant {
        guard let entry = entries[key] else { return .none }
        for slot in entry.slots.reversed() {
            guard let answer = answers[slot], answer.partition == partition else { continue }
            return Variant(answer.variant.fields.map(\.name), of: request)
        }
        return .none
    }

    func hasFill(_ key: CacheKey, _ partition: [UInt8], _ scope: Variant) -> Bool {
        entries[key]?.fills.contains { !$0.isClosed && $0.partition == partition && $0.scope == scope } ?? false
    }

    enum Joined {
        /// Nobody was fetching: the caller is now, under this number.
        case began(UInt64)
        case waits
        /// Enough wait already.
        case full
    }

    mutating func join(_ key: CacheKey, _ partition: [UInt8], _ scope: Variant, waiter: (any CacheWaiter)?) -> Joined {
        let entry = entries[key] ?? Entry()
        if let i = entry.fills.firstIndex(where: { !$0.isClosed && $0.partition == partition && $0.scope == scope }) {
            guard let waiter, entry.fills[i].waiters.count < Fill.waiterLimit else { return .full }
            entry.fills[i].waiters.append(waiter)
            return .waits
        }
        nextFill &+= 1
        entry.fills.append(Fill(id: nextFill, partition: partition, scope: scope))
        entries[key] = entry
        return .began(nextFill)
    }

    /// A waiter gave up.
    mutating func leave(_ key: CacheKey, _ waiter: any CacheWaiter) {
        guard let entry = entries[key] else { return }
        for i in entry.fills.indices { entry.fills[i].waiters.removeAll { $0 === waiter } }
    }

    /// A fetch ended: whom to tell what. At most one of them takes over.
    mutating func end(_ key: CacheKey, _ id: UInt64, _ end: FillTicket.End) -> (all: [any CacheWaiter], news: FillEnd)? {
        guard let entry = entries[key], let i = entry.fills.firstIndex(where: { $0.id == id }) else { return nil }
        var news = FillEnd.look
        switch end {
        case .stored: passes.remove(key)
        case .uncacheable(let until):
            passes.insert(key, until: until)
            news = .alone
        case .failed(let servesStale):
            entry.fills[i].failures += 1
            if servesStale {
                news = .lookAfterFailure
            } else if entry.fills[i].failures < Fill.failureLimit {
                if let next = handOver(entry, i) { return ([next], .takeOver) }
            } else {
                news = .alone
            }
        case .abandoned:
            if let next = handOver(entry, i) { return ([next], .takeOver) }
        }
        let waiters = entry.fills.remove(at: i).waiters
        if entry.isEmpty { entries[key] = nil }
        return (waiters, news)
    }

    enum FillEnd { case look, lookAfterFailure, alone, takeOver }

    private func handOver(_ entry: Entry, _ i: Int) -> (any CacheWaiter)? {
        entry.fills[i].waiters.isEmpty ? nil : entry.fills[i].waiters.removeFirst()
    }

    // MARK: Storing

    /// Stores an answer, unless its key or a tag was purged since its request began, or it is larger than the shard. What it makes
    /// superfluous goes: every answer of its partition that its request would have matched.
    mutating func store(_ answer: StoredAnswer, for request: borrowing FieldSection) -> Bool {
        guard answer.cost <= limit, !changes.isChanged(answer, since: answer.freshness.requestedAt) else { return false }
        if let entry = entries[answer.key] {
            for slot in entry.slots {
                guard let old = answers[slot], old.partition == answer.partition else { continue }
                if old.variant == answer.variant || old.variant.matches(request) { remove(slot) }
            }
        }
        if let entry = entries[answer.key], entry.slots.count >= CacheShard.variantLimit, let oldest = entry.slots.first {
            evictions &+= 1
            remove(oldest)
        }
        while lru.bytes > limit - answer.cost, let oldest = lru.oldest {
            evictions &+= 1
            remove(oldest)
        }
        let slot = lru.insert(cost: answer.cost)
        if slot == answers.count { answers.append(answer) } else { answers[slot] = answer }
        count += 1
        let entry = entries[answer.key] ?? Entry()
        entry.slots.append(slot)
        entries[answer.key] = entry
        for tag in answer.tags { tags[tag, default: []].insert(slot) }
        if answer.freshness.lifetime > 0 { passes.remove(answer.key) }
        return true
    }

    /// Puts what a validation made of `old` in its place, if that is still there.
    mutating func replace(_ old: StoredAnswer, by new: StoredAnswer, for request: borrowing FieldSection) -> Bool {
        guard let entry = entries[old.key], entry.slots.contains(where: { answers[$0] === old }) else { return false }
        return store(new, for: request)
    }

    mutating func remove(_ answer: StoredAnswer) {
        guard let entry = entries[answer.key], let slot = entry.slots.first(where: { answers[$0] === answer }) else { return }
        remove(slot)
    }

    private mutating func remove(_ slot: Int) {
        guard let answer = answers[slot] else { return }
        answers[slot] = nil
        count -= 1
        dropped.append(answer)
        lru.remove(slot)
        for tag in answer.tags {
            tags[tag]?.remove(slot)
            if tags[tag]?.isEmpty == true { tags[tag] = nil }
        }
        if let entry = entries[answer.key] {
            entry.slots.removeAll { $0 == slot }
            if entry.isEmpty { entries[answer.key] = nil }
        }
    }

    // MARK: Purging

    /// Forgets all answers to a key, and whatever a fetch that began before `now` still brings. Returns how many there were.
    mutating func purge(_ key: CacheKey, now: Instant) -> Int {
        changes.note(key: key.stableHash, now: now)
        passes.remove(key)
        guard let entry = entries[key] else { return 0 }
        for i in entry.fills.indices { entry.fills[i].isClosed = true }
        let slots = entry.slots
        for slot in slots { remove(slot) }
        return slots.count
    }

    /// A tag's answers, to be removed in steps; no fetch that began before `now` brings one of it any more.
    mutating func beginPurge(tag: UInt64, now: Instant) -> [StoredAnswer] {
        changes.note(tag: tag, now: now)
        return tags[tag]?.compactMap { answers[$0] } ?? []
    }

    mutating func beginPurgeOfAll(now: Instant) -> [StoredAnswer] {
        changes.noteAll(now: now)
        for entry in entries.values { for i in entry.fills.indices { entry.fills[i].isClosed = true } }
        return answers.compactMap { $0 }
    }

    mutating func setLimit(_ limit: Int) {
        self.limit = limit
        lru.setLimit(limit)
        while lru.bytes > limit, let oldest = lru.oldest {
            evictions &+= 1
            remove(oldest)
        }
    }
}
