// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// What a whole process can run short of (semantics, section 10).
public enum OverloadSignal: Int, CaseIterable, Sendable {
    /// The event loops are late.
    case lag
    case memory
    case descriptors

    /// Why a request is turned away.
    public var reason: Reason {
        switch self {
        case .lag: .shedLag
        case .memory: .shedMemory
        case .descriptors: .shedDescriptors
        }
    }

    public var name: String {
        switch self {
        case .lag: "lag"
        case .memory: "memory"
        case .descriptors: "descriptors"
        }
    }
}

/// The shed levels of one process, one a signal; whoever the highest sheds is shed.
///
/// Rule: each reading moves the level of its signal as ``ShedLevel`` says, and 100 % of a reading is where even critical is turned
/// away. A request asks for its class and gets the reason of the signal that is highest, the first of equals in the order memory,
/// descriptors, lag: what ends a process before what slows it. Since a class is shed by a level, so is every less important one (S1).
///
/// Pure: every reading brings its instant.
public struct OverloadLevels: Sendable {
    /// A level that has moved.
    public struct Change: Equatable, Sendable {
        public var signal: OverloadSignal
        public var from: Int
        public var to: Int
    }

    private var levels = [ShedLevel](repeating: ShedLevel(), count: OverloadSignal.allCases.count)
    private var readings = [Share](repeating: Share(tenThousandths: 0), count: OverloadSignal.allCases.count)

    public init() {}

    /// Takes a reading of a signal. `nil`: its level is as before.
    public mutating func note(_ signal: OverloadSignal, _ used: Int, of whole: Int, now: Instant) -> Change? {
        let i = signal.rawValue
        let before = levels[i].level
        let part = max(0, used)
        let full = max(1, whole)
        levels[i].look(part, of: full, now: now)
        let share = part.multipliedReportingOverflow(by: 10_000)
        readings[i] = Share(tenThousandths: share.overflow ? 10_000 : share.partialValue / full)
        let after = levels[i].level
        return after == before ? nil : Change(signal: signal, from: before, to: after)
    }

    /// A signal that is not watched any more sheds nobody.
    public mutating func forget(_ signal: OverloadSignal) {
        levels[signal.rawValue] = ShedLevel()
        readings[signal.rawValue] = Share(tenThousandths: 0)
    }

    public func level(of signal: OverloadSignal) -> Int { levels[signal.rawValue].level }
    /// The latest reading.
    public func reading(of signal: OverloadSignal) -> Share { readings[signal.rawValue] }

    /// The signal that is highest; `nil`: nobody is turned away.
    public var highest: (signal: OverloadSignal, level: Int)? {
        var found: (signal: OverloadSignal, level: Int)?
        for signal in [OverloadSignal.memory, .descriptors, .lag] where level(of: signal) > found?.level ?? 0 {
            found = (signal, level(of: signal))
        }
        return found
    }
}
