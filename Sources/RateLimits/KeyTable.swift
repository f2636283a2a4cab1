// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// One shard of a limit's keys: a hash table of fixed capacity in which the key that was used longest ago goes first (case E15).
///
/// What goes is not forgotten altogether: `floor` is the strictest of all states that went, and grows old as they would have. A key that is not
/// in the table begins with it. So a key that went and comes back never has more than if it had stayed, and keys that are new while the
/// table thrashes share one quota, the floor, instead of getting a full one each.
struct KeyTable<State: LimitState>: ~Copyable {
    private static var none: UInt32 { .max }

    private struct Links: BitwiseCopyable {
        var newer: UInt32
        var older: UInt32
        /// The next entry with the same head.
        var next: UInt32
    }

    private(set) var rule: RateLimitRule
    private let capacity: Int
    private var keys: ContiguousArray<LimitKey> = []
    private var states: ContiguousArray<State> = []
    private var links: ContiguousArray<Links> = []
    /// As many as a power of two, at least one for two entries.
    private var heads: ContiguousArray<UInt32>
    private var newest = UInt32.max
    private var oldest = UInt32.max
    private var floor: State
    private(set) var evictions: UInt64 = 0
    /// Whether the key that was placed last pushed one out that had something to remember.
    private var isPushing = false

    init(_ rule: RateLimitRule, capacity: Int, now: Instant) {
        self.rule = rule
        self.capacity = min(max(capacity, 1), 1 << 30)
        heads = ContiguousArray(repeating: Self.none, count: 16)
        floor = State(rule, now: now)
        // Address space only: what is never written costs no memory, and no step under the lock has to copy the table.
        keys.reserveCapacity(self.capacity)
        states.reserveCapacity(self.capacity)
        links.reserveCapacity(self.capacity)
    }

    var count: Int { keys.count }

    /// Address space that the table has taken, in bytes.
    var allocatedBytes: Int {
        keys.capacity * MemoryLayout<LimitKey>.stride + states.capacity * MemoryLayout<State>.stride + links.capacity
            * MemoryLayout<Links>.stride + heads.capacity * MemoryLayout<UInt32>.stride
    }

    /// Memory that a full table has, in bytes.
    static func bytes(capacity: Int) -> Int {
        var heads = 16
        while heads * 2 < capacity { heads *= 2 }
        return capacity * (MemoryLayout<LimitKey>.stride + MemoryLayout<State>.stride + MemoryLayout<Links>.stride) + heads * 4
    }

    /// The key's place, with its state as of `now`; it is the newest from now on.
    mutating func place(of key: LimitKey, now: Instant) -> Int {
        isPushing = false
        var i = heads[head(key)]
        while i != Self.none {
            if keys[Int(i)] == key {
                touch(i)
                states[Int(i)].advance(to: now, rule)
                return Int(i)
            }
            i = links[Int(i)].next
        }
        return insert(key, now)
    }

    subscript(place: Int) -> State { states[place] }

    /// Takes one for the key that was placed last; where it pushed another out, from what all such share as well.
    mutating func take(_ place: Int) {
        states[place].take(rule)
        if isPushing { floor = floor.strictest(states[place]) }
    }

    /// Another rule from now on: what has been used stays used.
    mutating func adopt(_ new: RateLimitRule, now: Instant) {
        guard new != rule else { return }
        for i in states.indices {
            states[i].advance(to: now, rule)
            states[i] = states[i].converted(from: rule, to: new, now: now)
        }
        floor.advance(to: now, rule)
        floor = floor.converted(from: rule, to: new, now: now)
        rule = new
    }

    // MARK: Inside

    private func head(_ key: LimitKey) -> Int { Int(truncatingIfNeeded: key.low & UInt64(heads.count - 1)) }

    private mutating func insert(_ key: LimitKey, _ now: Instant) -> Int {
        floor.advance(to: now, rule)
        let place: UInt32
        if keys.count < capacity {
            if keys.count >= heads.count * 2 { rehash() }
            place = UInt32(keys.count)
            keys.append(key)
            states.append(floor)
            links.append(Links(newer: Self.none, older: Self.none, next: Self.none))
        } else {
            place = oldest
            evict(place, now)
            keys[Int(place)] = key
            states[Int(place)] = floor
        }
        let h = head(key)
        links[Int(place)].next = heads[h]
        heads[h] = place
        makeNewest(place)
        return Int(place)
    }

    private mutating func evict(_ place: UInt32, _ now: Instant) {
        evictions &+= 1
        states[Int(place)].advance(to: now, rule)
        isPushing = !states[Int(place)].isFresh(rule)
        floor = floor.strictest(states[Int(place)])
        unlink(place)
        let h = head(keys[Int(place)])
        if heads[h] == place {
            heads[h] = links[Int(place)].next
            return
        }
        var i = heads[h]
        while links[Int(i)].next != place { i = links[Int(i)].next }
        links[Int(i)].next = links[Int(place)].next
    }

    private mutating func rehash() {
        heads = ContiguousArray(repeating: Self.none, count: heads.count * 2)
        for i in keys.indices {
            let h = head(keys[i])
            links[i].next = heads[h]
            heads[h] = UInt32(i)
        }
    }

    private mutating func touch(_ place: UInt32) {
        if newest == place { return }
        unlink(place)
        makeNewest(place)
    }

    private mutating func unlink(_ place: UInt32) {
        let link = links[Int(place)]
        if link.newer == Self.none { newest = link.older } else { links[Int(link.newer)].older = link.older }
        if link.older == Self.none { oldest = link.newer } else { links[Int(link.older)].newer = link.newer }
    }

    private mutating func makeNewest(_ place: UInt32) {
        links[Int(place)].older = newest
        links[Int(place)].newer = Self.none
        if newest == Self.none { oldest = place } else { links[Int(newest)].newer = place }
        newest = place
    }
}
