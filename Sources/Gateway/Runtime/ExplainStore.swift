// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Which requests get a decision record.
struct ExplainPlan: Equatable, Sendable {
    var keep: Int
    /// Records of unusual requests a second, of all reactors together.
    var rate: Int
    /// In ten-thousandths.
    var sampling: Int
}

/// How many more records one reactor may make in this second.
struct ExplainBudget {
    private var second = Int64.min
    private var left = 0

    /// Whether a record could be made now.
    mutating func hasRoom(_ now: Instant, rate: Int) -> Bool {
        let current = now.nanoseconds / 1_000_000_000
        if current != second {
            second = current
            left = rate
        }
        return left > 0
    }

    mutating func spend() { left -= 1 }
}

/// The latest decision records of all reactors, found by request id. Bounded: the oldest goes when a new one comes.
package final class ExplainStore: Sendable {
    private struct Record {
        var id: [UInt8]
        var json: [UInt8]
    }

    private struct Ring {
        var capacity: Int
        var records: [Record] = []
        /// Where the next one goes, once the ring is full.
        var next = 0
    }

    private let ring: GuardLock<Ring>

    init(capacity: Int) { ring = GuardLock(Ring(capacity: max(0, capacity))) }

    /// Of a newer configuration; what does not fit any more is forgotten.
    func setCapacity(_ capacity: Int) {
        ring.withLock { ring in
            guard capacity != ring.capacity else { return }
            let ordered = Array(ring.records[ring.next...] + ring.records[..<ring.next])
            ring.records = Array(ordered.suffix(max(0, capacity)))
            ring.capacity = max(0, capacity)
            ring.next = 0
        }
    }

    func keep(_ id: [UInt8], _ json: [UInt8]) {
        ring.withLock { ring in
            guard ring.capacity > 0 else { return }
            let record = Record(id: id, json: json)
            if ring.records.count < ring.capacity {
                ring.records.append(record)
            } else {
                ring.records[ring.next] = record
                ring.next = (ring.next + 1) % ring.capacity
            }
        }
    }

    /// The newest record of a request; an id that came twice has the newer one.
    package func find(_ id: [UInt8]) -> [UInt8]? {
        ring.withLock { ring in
            for step in 1...max(1, ring.records.count) where step <= ring.records.count {
                let i = (ring.next - step + ring.records.count) % ring.records.count
                if ring.records[i].id == id { return ring.records[i].json }
            }
            return nil
        }
    }

    package var count: Int { ring.withLock { $0.records.count } }
}
