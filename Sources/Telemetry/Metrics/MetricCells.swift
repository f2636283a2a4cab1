// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Synchronization

import Core
import Glibc

/// The memory of all counts of one registry: for each shard a region of its own, the same slot in each.
///
///     run:   | shard 0: 8,192 words | shard 1: 8,192 words | … | shared: 8,192 words |
///                  ▲ slot                  ▲ slot
///
/// A handle is the address of its slot in shard 0; shard s is one multiplication away, so that a count is one load and one
/// store with nothing to look up. Two shards never meet in a cache line. The pages are untouched until counted in.
@safe struct MetricCells: ~Copyable {
    /// 64 bits, written by one thread and read by any; relaxed everywhere, since a scrape needs no order between counts.
    typealias Cell = UnsafeMutablePointer<Atomic<UInt64>>

    /// Words from one shard's slot to the next shard's: 64 KiB.
    static let stride = 8_192

    private let regions: Int
    private var runs: [MetricPages.Run] = []
    private var used = MetricCells.stride

    init(regions: Int) { self.regions = regions }

    deinit {
        for run in runs { MetricPages.giveBack(run, regions: regions) }
    }

    /// The next `words` free slots (at most `stride`); a block of several starts on a cache line.
    mutating func allocate(words: Int) -> Cell {
        precondition(words > 0 && words <= MetricCells.stride)
        var start = words > 1 ? (used + 7) & ~7 : used
        if start + words > MetricCells.stride {
            runs.append(MetricPages.take(regions: regions))
            start = 0
        }
        used = start + words
        return unsafe runs[runs.count - 1].base + start
    }
}

/// Where the pages of registries come from and go back to.
///
/// Pages are never unmapped: a handle that outlives its registry (a mistake of ours, in a test or at the end of a
/// simulated gateway) then counts into memory that is still a count, which is why a handle needs no reference count.
private enum MetricPages {
    // Sendable: an address; who may use it is decided by taking it from the pool and giving it back.
    @safe struct Run: @unchecked Sendable {
        let base: MetricCells.Cell
    }

    private static let pool = GuardLock<[Int: [Run]]>([:])

    static func take(regions: Int) -> Run {
        if let run = pool.withLock({ $0[regions]?.popLast() }) { return run }
        let bytes = regions * MetricCells.stride * 8
        guard let memory = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            unsafe memory != MAP_FAILED
        else { preconditionFailure("out of memory for \(bytes) bytes of metrics") }
        // A zeroed word is an `Atomic<UInt64>` of 0: it has the layout of its value.
        return unsafe Run(base: memory.bindMemory(to: Atomic<UInt64>.self, capacity: regions * MetricCells.stride))
    }

    static func giveBack(_ run: Run, regions: Int) {
        // Anonymous pages read as zero after this (madvise(2)).
        unsafe madvise(run.base, regions * MetricCells.stride * 8, MADV_DONTNEED)
        pool.withLock { $0[regions, default: []].append(run) }
    }
}

/// One series' slot in every shard: what a counter, a gauge and a histogram have in common. Sixteen bytes, copied freely.
@safe @frozen public struct MetricSlot: @unchecked Sendable {
    // Sendable: the memory is never unmapped and holds atomics only.
    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
    /// Reactor shards; the region after them is for every other thread.
    @usableFromInline let shards: Int

    init(base: UnsafeMutablePointer<Atomic<UInt64>>, shards: Int) {
        unsafe self.base = base
        self.shards = shards
    }

    @usableFromInline static var stride: Int { 8_192 }

    /// Adds in a shard that only the calling thread writes: a load and a store, no bus lock. Wraps.
    @inlinable @inline(__always)
    func add(_ n: UInt64, shard: Int, word: Int = 0) {
        precondition(UInt(bitPattern: shard) < UInt(bitPattern: shards), "no such shard")
        let cell = unsafe base + (shard &* MetricSlot.stride &+ word)
        unsafe cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ n, ordering: .relaxed)
    }

    @inlinable @inline(__always)
    func set(_ value: UInt64, shard: Int) {
        precondition(UInt(bitPattern: shard) < UInt(bitPattern: shards), "no such shard")
        unsafe (base + shard &* MetricSlot.stride).pointee.store(value, ordering: .relaxed)
    }

    /// Adds in the shared region, from any thread.
    func addShared(_ n: UInt64, word: Int = 0) {
        unsafe (base + (shards &* MetricSlot.stride &+ word)).pointee.wrappingAdd(n, ordering: .relaxed)
    }

    /// The sum over all shards.
    func total(word: Int = 0) -> UInt64 {
        var sum: UInt64 = 0
        for region in 0...shards {
            sum &+= unsafe (base + (region &* MetricSlot.stride &+ word)).pointee.load(ordering: .relaxed)
        }
        return sum
    }
}
