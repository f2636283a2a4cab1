// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Remembers what was verified at some cost, by the SHA-256 of what was shown: a signature costs 25 to 160 µs and a password a
/// quarter of a second, a look-up here less than a microsecond.
///
/// Four places for each hash, all allocated at the start: it never grows, and only what was found right goes in, so that nobody can
/// push others out with rubbish. All reactors share it; the locked step neither waits nor allocates. Whether an entry still holds
/// (its time, its key) is for the reader to ask.
package final class VerifiedTable<Value: AnyObject & Sendable>: Sendable {
    private struct Place {
        var key = Digest256(words: (0, 0, 0, 0))
        var value: Value?
        var used: UInt64 = 0
    }

    private struct Table: ~Copyable {
        var places: [Place]
        var clock: UInt64 = 0
    }

    private static var ways: Int { 4 }
    private let mask: UInt64
    private let table: GuardLock<Table>

    /// `capacity` is rounded up to a power of two, at least 4.
    package init(capacity: Int) {
        var sets = 1
        while sets * VerifiedTable.ways < min(max(capacity, 4), 1 << 24) { sets *= 2 }
        mask = UInt64(sets - 1)
        table = GuardLock(Table(places: [Place](repeating: Place(), count: sets * VerifiedTable.ways)))
    }

    package var capacity: Int { (Int(mask) + 1) * VerifiedTable.ways }

    private func first(_ key: Digest256) -> Int { Int(key.words.1 & mask) * VerifiedTable.ways }

    package func find(_ key: Digest256) -> Value? {
        let start = first(key)
        return table.withLock { table in
            for i in start..<(start + VerifiedTable.ways) where table.places[i].value != nil && table.places[i].key == key {
                table.clock &+= 1
                table.places[i].used = table.clock
                return table.places[i].value
            }
            return nil
        }
    }

    /// Puts `value` in the place of its own key, else in an empty one, else in that which was not used for longest.
    package func insert(_ value: Value, for key: Digest256) {
        let start = first(key)
        // What was there dies here, not under the lock.
        let replaced = table.withLock { table in
            let own = (start..<(start + VerifiedTable.ways)).first { table.places[$0].value != nil && table.places[$0].key == key }
            var place = own ?? start
            if own == nil {
                for i in start..<(start + VerifiedTable.ways) {
                    if table.places[i].value == nil {
                        place = i
                        break
                    }
                    if table.places[i].used < table.places[place].used { place = i }
                }
            }
            table.clock &+= 1
            let before = table.places[place].value
            table.places[place] = Place(key: key, value: value, used: table.clock)
            return before
        }
        _ = replaced
    }

    /// Forgets one entry, as once its time is over.
    package func remove(_ key: Digest256) {
        let start = first(key)
        let removed: Value? = table.withLock { table in
            for i in start..<(start + VerifiedTable.ways) where table.places[i].value != nil && table.places[i].key == key {
                return table.places[i].value.take()
            }
            return nil
        }
        _ = removed
    }
}
