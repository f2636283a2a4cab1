// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Writes one line a request, straight from the bytes of the exchange into a reactor's lane of a `LogSink`.
///
///     log.write(at: wallNanoseconds) { line in
///         line.field(.client, address)
///         line.target(path)
///         line.field(.status, 503)
///         line.field(.reason, Reason.breakerOpen)
///     }
///
/// One for each reactor; not `Sendable`. Whether a request is logged at all (sampling) is the caller's decision.
package final class AccessLog {
    package enum Format: String, Sendable, CaseIterable {
        /// One JSON object a line.
        case json
        /// The combined format that nginx and Apache write, then `key=value` fields.
        case text
    }

    /// What becomes of a request's query, where tokens and addresses of people tend to be.
    package enum Query: String, Sendable, CaseIterable {
        /// The path alone.
        case omit
        /// Names stay, values are `*`; a parameter without `=` is all value.
        case redact
        case keep
    }

    package struct Settings: Sendable, Equatable {
        package var format = Format.json
        package var query = Query.omit
        /// Bytes of one field before it is cut and marked with `…`, in 16...65,536. Default 1 KiB.
        package var fieldLimitBytes = 1_024

        package init() {}
    }

    private let lane: LogLane
    private var line: AccessLine

    package init(settings: Settings, lane: LogLane) {
        self.lane = lane
        line = AccessLine(settings: settings)
    }

    /// Writes a line with the fields that `fill` gives. False if the lane is full: the line is dropped and counted there.
    /// In `fill` this log must not be touched. Cheaper than the calls below, each of which checks for exclusive access.
    @discardableResult
    package func write(at unixNanoseconds: Int64, _ fill: (inout AccessLine) -> Void) -> Bool {
        line.begin(at: unixNanoseconds)
        fill(&line)
        return line.finish(into: lane)
    }

    // MARK: In steps

    /// Starts a line; one that was begun and not ended is forgotten.
    package func begin(at unixNanoseconds: Int64) { line.begin(at: unixNanoseconds) }

    package func field(_ field: AccessField, _ bytes: Span<UInt8>) { line.field(field, bytes) }
    package func field(_ field: AccessField, text: String) { line.field(field, text: text) }
    package func field(_ field: AccessField, _ word: StaticString) { line.field(field, word) }
    package func field(_ field: AccessField, _ reason: Reason) { line.field(field, reason) }
    package func field(_ field: AccessField, _ number: Int) { line.field(field, number) }
    package func field(_ field: AccessField, _ number: UInt64) { line.field(field, number) }
    package func field(_ field: AccessField, _ flag: Bool) { line.field(field, flag) }
    package func field(_ field: AccessField, nanoseconds: Int64) { line.field(field, nanoseconds: nanoseconds) }
    package func target(_ bytes: Span<UInt8>) { line.target(bytes) }

    /// Ends the line and hands it to the lane. False if the lane is full: the line is dropped and counted there.
    @discardableResult
    package func end() -> Bool { line.finish(into: lane) }
}
