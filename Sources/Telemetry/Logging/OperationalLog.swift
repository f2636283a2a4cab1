// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// The log of rare events: start, reload, listeners, breaker transitions. One line an event:
///
///     2026-11-25T04:03:00.123Z warning upstream breaker opened upstream=users failures=12
///
/// Any thread may write; it takes a short lock and makes strings, so it is not for the way of a request. Everything but the
/// level is escaped, and values that are not plain tokens are quoted.
package final class OperationalLog: Sendable {
    package enum Level: String, Comparable, CaseIterable, Sendable {
        case debug, info, warning, error

        private var rank: Int {
            switch self {
            case .debug: 0
            case .info: 1
            case .warning: 2
            case .error: 3
            }
        }

        package static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
    }

    private let sink: LogSink
    private let level: Level
    private let wallNanoseconds: @Sendable () -> Int64
    private let time = GuardLock(WallTimeFormat())

    /// Longest message or value before it is cut with `…`.
    private static let limitBytes = 2_048

    /// Lines below `level` are left out. `wallNanoseconds` gives the time since 1970: the reactor's, real or simulated.
    package init(sink: LogSink, level: Level = .info, wallNanoseconds: @escaping @Sendable () -> Int64) {
        self.sink = sink
        self.level = level
        self.wallNanoseconds = wallNanoseconds
    }

    package func logs(_ level: Level) -> Bool { level >= self.level }

    /// `component` is one lower-case word: `listener`, `upstream`, `config`.
    package func log(_ level: Level, _ component: String, _ message: String, _ values: [(String, String)] = []) {
        guard logs(level) else { return }
        var line = ByteBuffer(capacity: 256)
        let now = wallNanoseconds()
        time.withLock { $0.appendRFC3339(now, to: &line) }
        line.append(UInt8(ascii: " "))
        line.append(utf8: level.rawValue)
        line.append(UInt8(ascii: " "))
        line.append(escaping: component.utf8.span, as: .bare, limit: 64)
        line.append(UInt8(ascii: " "))
        line.append(escaping: message.utf8.span, as: .text, limit: OperationalLog.limitBytes)
        for (key, value) in values {
            line.append(UInt8(ascii: " "))
            line.append(escaping: key.utf8.span, as: .bare, limit: 64)
            line.append(UInt8(ascii: "="))
            let isToken = !value.isEmpty && LogEscaping.isToken(value.utf8.span)
            if !isToken { line.append(UInt8(ascii: "\"")) }
            line.append(escaping: value.utf8.span, as: .text, limit: OperationalLog.limitBytes)
            if !isToken { line.append(UInt8(ascii: "\"")) }
        }
        line.append(UInt8(ascii: "\n"))
        sink.append(line.readable)
    }

    package func debug(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        log(.debug, component, message, values)
    }

    package func info(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        log(.info, component, message, values)
    }

    package func warning(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        log(.warning, component, message, values)
    }

    package func error(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        log(.error, component, message, values)
    }

    /// Waits until what was logged is out, for the end of the process.
    @discardableResult
    package func flush(within limit: Duration) -> Bool { sink.flush(within: limit) }
}
