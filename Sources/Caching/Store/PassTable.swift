// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Keys whose answers could not be stored of late, so that requests for them do not wait for each other ("hit-for-pass", as Varnish calls it).
///
/// A fixed table by hash: a newer key takes the place of an older one, which costs a wait and no more. So its memory does not grow with the
/// number of keys that clients think of.
struct PassTable {
    private var keys: [UInt64]
    private var until: [Instant]

    init(size: Int = 1_024) {
        keys = Array(repeating: 0, count: size)
        until = Array(repeating: .origin, count: size)
    }

    func contains(_ key: CacheKey, now: Instant) -> Bool {
        let i = place(key)
        return keys[i] == key.stableHash && now < until[i]
    }

    mutating func insert(_ key: CacheKey, until end: Instant) {
        let i = place(key)
        keys[i] = key.stableHash
        until[i] = end
    }

    mutating func remove(_ key: CacheKey) {
        let i = place(key)
        if keys[i] == key.stableHash { until[i] = .origin }
    }

    private func place(_ key: CacheKey) -> Int { Int(truncatingIfNeeded: key.stableHash % UInt64(keys.count)) }
}

/// When keys and tags were last purged or changed: what was asked for before must not be stored after.
///
/// By hash too: two keys in one place cost an answer that is not stored, never one that must not be.
struct ChangeTable {
    private var keys: [Instant]
    private var tags: [Instant]
    private var all = ChangeTable.never

    /// Before any instant of a clock.
    private static let never = Instant(nanoseconds: .min)
    /// A reactor's time stands still within one turn, so that two reactors' may differ by a turn: by so much a change counts as later than it is.
    static let slack: Int64 = 10_000_000

    init(size: Int = 1_024) {
        keys = Array(repeating: ChangeTable.never, count: size)
        tags = Array(repeating: ChangeTable.never, count: 256)
    }

    mutating func note(key: UInt64, now: Instant) { keys[place(key, keys.count)] = now.advanced(byNanoseconds: ChangeTable.slack) }
    mutating func note(tag: UInt64, now: Instant) { tags[place(tag, tags.count)] = now.advanced(byNanoseconds: ChangeTable.slack) }
    mutating func noteAll(now: Instant) { all = now.advanced(byNanoseconds: ChangeTable.slack) }

    /// Whether what began at `start` is older than a change. One at the same instant counts as one.
    func isChanged(_ answer: StoredAnswer, since start: Instant) -> Bool {
        if all >= start || keys[place(answer.key.stableHash, keys.count)] >= start { return true }
        for tag in answer.tags where tags[place(tag, tags.count)] >= start { return true }
        return false
    }

    private func place(_ hash: UInt64, _ size: Int) -> Int { Int(truncatingIfNeeded: (hash >> 16) % UInt64(size)) }
}
