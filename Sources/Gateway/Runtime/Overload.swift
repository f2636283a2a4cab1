// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Resilience
import Synchronization
import Telemetry

/// How short of time, memory or descriptors this process may be before it turns requests away; `nil`: that signal is off. Each value is
/// where even critical requests are shed.
struct OverloadPlan: Equatable, Sendable {
    var lagNanoseconds: Int64?
    var memory: Share?
    /// What `memory` is a share of; `nil`: what the kernel allows.
    var memoryBytes: Int?
    var descriptors: Share?
}

/// The overload levels of this process, shared by all reactors: watches write readings, requests read one word.
///
///     OverloadWatch (each reactor, lag) ──┐
///     ResourceWatch (one reactor)  ───────┴─► locked levels ─► word ─► a request: one relaxed load
///
/// The word may be a moment old, which is as good: a reading is as old.
package final class Overload: Sendable {
    fileprivate struct State {
        var plan = OverloadPlan()
        /// What the shares are of.
        var memoryBytes: Int?
        var levels = OverloadLevels()
        /// By reactor, nanoseconds.
        var lag: [Int64] = []
        var isFull = [Bool](repeating: false, count: OverloadSignal.allCases.count)
    }

    private let state = GuardLock(State())
    /// Level in bits 0 to 2, its signal from bit 8; from bit 16 one more than the signal for which no connection is accepted. Relaxed: it
    /// stands for itself, no other memory is read because of it.
    private let word = Atomic<UInt32>(0)
    /// Bit of a signal that has a level.
    private let short = Atomic<UInt32>(0)

    package init() {}

    // MARK: Asked

    /// Whether anybody is turned away at all.
    var isShedding: Bool { word.load(ordering: .relaxed) & 7 != 0 }

    /// Why a request of this class is turned away; `nil`: it is not.
    func reason(for priority: Priority) -> Reason? {
        let word = word.load(ordering: .relaxed)
        guard priority.rank >= 4 - Int(word & 7) else { return nil }
        return OverloadSignal(rawValue: Int(word >> 8 & 0xFF))?.reason
    }

    /// Why no further connection is accepted; `nil`: one may be.
    var refusesConnections: Reason? {
        let signal = Int(word.load(ordering: .relaxed) >> 16)
        return signal == 0 ? nil : OverloadSignal(rawValue: signal - 1)?.reason
    }

    /// Whether connections that do nothing are better closed: descriptors or memory are short.
    var isShortOfRoom: Bool {
        short.load(ordering: .relaxed)
            & (1 << UInt32(OverloadSignal.memory.rawValue) | 1 << UInt32(OverloadSignal.descriptors.rawValue))
            != 0
    }

    /// For metrics and the admin listener, in the order of the signals.
    package var report: [(signal: OverloadSignal, level: Int, reading: Share)] {
        state.withLock { state in
            OverloadSignal.allCases.map { ($0, state.levels.level(of: $0), state.levels.reading(of: $0)) }
        }
    }

    /// Whether loops are probed.
    var watchesLag: Bool { state.withLock { $0.plan.lagNanoseconds != nil } }

    // MARK: Told

    /// Goes by these limits from now on. A signal that is off now sheds nobody.
    func apply(_ plan: OverloadPlan, memoryLimit: Int?) {
        state.withLock { state in
            state.plan = plan
            state.memoryBytes = plan.memoryBytes ?? memoryLimit
            if plan.lagNanoseconds == nil { state.levels.forget(.lag) }
            if plan.memory == nil || state.memoryBytes == nil { state.forget(.memory) }
            if plan.descriptors == nil { state.forget(.descriptors) }
            publish(state)
        }
    }

    /// How late the loop of one reactor is. The latest of all counts: a class is shed everywhere or nowhere.
    func note(lag: Int64, shard: Int, now: Instant) -> OverloadLevels.Change? {
        state.withLock { state -> OverloadLevels.Change? in
            guard let limit = state.plan.lagNanoseconds else { return nil }
            while state.lag.count <= shard { state.lag.append(0) }
            state.lag[shard] = lag
            defer { publish(state) }
            return state.levels.note(.lag, Int(clamping: state.lag.max() ?? 0), of: Int(clamping: limit), now: now)
        }
    }

    func note(residentBytes: Int, now: Instant) -> OverloadLevels.Change? {
        state.withLock { state -> OverloadLevels.Change? in
            guard let share = state.plan.memory, let whole = state.memoryBytes else { return nil }
            defer { publish(state) }
            return state.note(.memory, residentBytes, of: whole, share, now: now)
        }
    }

    func note(openDescriptors: Int, of limit: Int, now: Instant) -> OverloadLevels.Change? {
        state.withLock { state -> OverloadLevels.Change? in
            guard let share = state.plan.descriptors else { return nil }
            defer { publish(state) }
            return state.note(.descriptors, openDescriptors, of: limit, share, now: now)
        }
    }

    private func publish(_ state: borrowing State) {
        var word: UInt32 = 0
        if let highest = state.levels.highest { word = UInt32(highest.level) | UInt32(highest.signal.rawValue) << 8 }
        if let full = state.isFull.firstIndex(of: true) { word |= UInt32(full + 1) << 16 }
        self.word.store(word, ordering: .relaxed)
        var bits: UInt32 = 0
        for signal in OverloadSignal.allCases where state.levels.level(of: signal) > 0 { bits |= 1 << UInt32(signal.rawValue) }
        short.store(bits, ordering: .relaxed)
    }
}

extension Overload.State {
    fileprivate mutating func forget(_ signal: OverloadSignal) {
        levels.forget(signal)
        isFull[signal.rawValue] = false
    }

    /// Connections are refused from halfway between the share and the whole: what is left is for those that there are.
    fileprivate mutating func note(
        _ signal: OverloadSignal, _ used: Int, of whole: Int, _ share: Share, now: Instant
    ) -> OverloadLevels.Change? {
        let full = Int(clamping: Int64(Double(whole) * share.fraction))
        isFull[signal.rawValue] = used >= full && used - full >= (whole - full) / 2
        return levels.note(signal, used, of: max(1, full), now: now)
    }
}
