// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A count that only grows, kept apart for each reactor and summed when it is read.
///
/// A handle, resolved once by `MetricsRegistry.counter`; 16 bytes without a reference count. Counting costs about a
/// nanosecond and touches no cache line of another reactor.
@frozen public struct Counter: Sendable {
    @usableFromInline let slot: MetricSlot

    init(slot: MetricSlot) { self.slot = slot }

    /// Adds `n`. Only the thread of reactor `shard` may call this; code that may run on several threads uses
    /// `addFromAnyThread`.
    @inlinable @inline(__always)
    public func add(_ n: UInt64 = 1, shard: Int) { slot.add(n, shard: shard) }

    /// Adds `n` by an atomic read-modify-write (5 ns alone, more when threads meet): for threads that are no reactor.
    public func addFromAnyThread(_ n: UInt64 = 1) { slot.addShared(n) }

    /// The sum over all reactors: each part is whole, and the sum is of no single moment.
    public var value: UInt64 { slot.total() }
}

/// A value that rises and falls, such as open connections: each reactor holds its part, and a scrape reads the sum.
///
/// For a value that something else already holds, register a closure with `MetricsRegistry.gauge(…, read:)` instead.
@frozen public struct Gauge: Sendable {
    @usableFromInline let slot: MetricSlot

    init(slot: MetricSlot) { self.slot = slot }

    /// Adds `n`, which may be negative. Only the thread of reactor `shard` may call this.
    @inlinable @inline(__always)
    public func add(_ n: Int64, shard: Int) { slot.add(UInt64(bitPattern: n), shard: shard) }

    /// Sets the part of reactor `shard`; only its thread may call this.
    @inlinable @inline(__always)
    public func set(_ value: Int64, shard: Int) { slot.set(UInt64(bitPattern: value), shard: shard) }

    public func addFromAnyThread(_ n: Int64) { slot.addShared(UInt64(bitPattern: n)) }

    /// The sum over all reactors.
    public var value: Int64 { Int64(bitPattern: slot.total()) }
}
