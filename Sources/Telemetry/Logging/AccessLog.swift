// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Writes one line a request, straight from the bytes of the exchange into a reactor's lane of a `LogSink`.
///
///     log.begin(at: wallNanoseconds)
///     log.field(.client, address); log.target(path); log.field(.status, 503); log.field(.reason, Reason.breakerOpen)
///     log.end()
///
/// Fields may come in any order; the line has them in `AccessField`'s. A field given twice has its last value, one that was
/// not given is absent (JSON) or `-` (the common part of a text line). No `String` is made and nothing is allocated once
/// the buffers have grown. One for each reactor; not `Sendable`. Whether a request is logged at all (sampling) is the
/// caller's decision.
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

    private let settings: Settings
    private let escaping: LogEscaping
    private let lane: LogLane
    private var time = WallTimeFormat()
    private var wall: Int64 = 0
    /// The escaped values of the line under way, in the order they came.
    private var values = ByteBuffer()
    /// Where in `values` each field is: offset in the upper half, length in the lower.
    private var places = InlineArray<32, UInt64>(repeating: 0)
    /// One bit a field.
    private var present: UInt32 = 0
    private var line = ByteBuffer()

    package init(settings: Settings, lane: LogLane) {
        self.settings = settings
        self.lane = lane
        escaping = settings.format == .json ? .json : .text
    }

    /// Starts a line; one that was begun and not ended is forgotten.
    package func begin(at unixNanoseconds: Int64) {
        values.removeAll()
        present = 0
        wall = unixNanoseconds
        let start = values.count
        time.appendRFC3339(unixNanoseconds, to: &values)
        place(.time, from: start)
    }

    /// Bytes that a peer may have chosen: escaped, and cut at the limit. A field that holds a number takes no bytes: it
    /// stays absent.
    package func field(_ field: AccessField, _ bytes: Span<UInt8>) {
        if field == .path { target(bytes) } else { put(field, bytes) }
    }

    private func put(_ field: AccessField, _ bytes: Span<UInt8>) {
        guard field.shape != .bare else { return }
        let start = values.count
        // In a text line the client's address and other words stand without quotes.
        let isBare = settings.format == .text && field.shape != .quoted
        values.append(escaping: bytes, as: isBare ? .bare : escaping, limit: settings.fieldLimitBytes)
        place(field, from: start)
    }

    /// A name from the configuration. The string should be a stored one.
    package func field(_ field: AccessField, text: String) { self.field(field, text.utf8.span) }

    /// A word known at compile time that needs no escaping.
    package func field(_ field: AccessField, _ word: StaticString) {
        let start = values.count
        values.append(word)
        place(field, from: start)
    }

    package func field(_ field: AccessField, _ reason: Reason) { self.field(field, reason.rawValue.utf8.span) }

    package func field(_ field: AccessField, _ number: Int) {
        let start = values.count
        values.append(decimal: number)
        place(field, from: start)
    }

    package func field(_ field: AccessField, _ number: UInt64) {
        let start = values.count
        values.append(decimal: number)
        place(field, from: start)
    }

    package func field(_ field: AccessField, _ flag: Bool) { self.field(field, flag ? "true" : "false") }

    /// A stage's time, written in whole microseconds; negative counts as 0.
    package func field(_ field: AccessField, nanoseconds: Int64) { self.field(field, Int(max(nanoseconds, 0) / 1_000)) }

    /// The request's target, its query treated as the settings say.
    package func target(_ bytes: Span<UInt8>) {
        var queryStart = 0
        while queryStart < bytes.count && bytes[queryStart] != UInt8(ascii: "?") { queryStart += 1 }
        if queryStart == bytes.count || settings.query == .keep {
            put(.path, bytes)
            return
        }
        let path = bytes.extracting(..<queryStart)
        guard settings.query == .redact, path.count < settings.fieldLimitBytes else {
            put(.path, path)
            return
        }
        let start = values.count
        values.append(escaping: path, as: escaping, limit: settings.fieldLimitBytes)
        appendRedacted(bytes.extracting(queryStart...), limit: settings.fieldLimitBytes - path.count)
        place(.path, from: start)
    }

    /// `?a=1&b&c=` becomes `?a=*&*&c=*`.
    private func appendRedacted(_ query: Span<UInt8>, limit: Int) {
        let end = min(query.count, limit)
        var i = 0
        while i < end {
            values.append(query[i])  // "?" or "&"
            i += 1
            let start = i
            while i < end && query[i] != UInt8(ascii: "&") && query[i] != UInt8(ascii: "=") { i += 1 }
            if i < end && query[i] == UInt8(ascii: "=") {
                values.append(escaping: query.extracting(start..<i), as: escaping)
                values.append("=*")
                while i < end && query[i] != UInt8(ascii: "&") { i += 1 }
            } else if i > start {
                values.append(UInt8(ascii: "*"))
            }
        }
        if end < query.count { values.append("…") }
    }

    /// Ends the line and hands it to the lane. False if the lane is full: the line is dropped and counted there.
    @discardableResult
    package func end() -> Bool {
        line.removeAll()
        line.reserve(values.count + 640)
        switch settings.format {
        case .json: writeJSON()
        case .text: writeText()
        }
        line.append(UInt8(ascii: "\n"))
        present = 0
        return line.withReadable { lane.append($0) }
    }

    // MARK: The line

    @inline(__always)
    private func place(_ field: AccessField, from start: Int) {
        places[field.rawValue] = UInt64(start) << 32 | UInt64(values.count - start)
        present |= 1 << UInt32(field.rawValue)
    }

    @inline(__always)
    private func appendValue(_ field: AccessField) {
        let place = places[field.rawValue]
        let start = Int(place >> 32)
        values.withReadable { line.append($0.extracting(start..<start + Int(place & 0xFFFF_FFFF))) }
    }

    private func has(_ field: AccessField) -> Bool { present & (1 << UInt32(field.rawValue)) != 0 }

    private func writeJSON() {
        var separator = UInt8(ascii: "{")
        var rest = present
        while rest != 0 {
            let raw = rest.trailingZeroBitCount
            rest &= rest - 1
            guard let field = AccessField(rawValue: raw) else { continue }
            line.append(separator)
            separator = UInt8(ascii: ",")
            line.append(UInt8(ascii: "\""))
            line.append(field.word)
            if field.shape == .bare {
                line.append("\":")
                appendValue(field)
            } else {
                line.append("\":\"")
                appendValue(field)
                line.append(UInt8(ascii: "\""))
            }
        }
        line.append(UInt8(ascii: "}"))
    }

    private func writeText() {
        appendOrDash(.client)
        line.append(" - - [")
        time.appendCommonLog(wall, to: &line)
        line.append("] \"")
        appendOrDash(.method)
        line.append(UInt8(ascii: " "))
        appendOrDash(.path)
        line.append(UInt8(ascii: " "))
        appendOrDash(.protocol)
        line.append("\" ")
        appendOrDash(.status)
        line.append(UInt8(ascii: " "))
        appendOrDash(.bytesOut)
        // The referrer's place: not logged, since its query is another site's secret.
        line.append(" \"-\" \"")
        appendOrDash(.userAgent)
        line.append(UInt8(ascii: "\""))
        var rest = present
        while rest != 0 {
            let raw = rest.trailingZeroBitCount
            rest &= rest - 1
            guard let field = AccessField(rawValue: raw), !field.isInCommonPart else { continue }
            line.append(UInt8(ascii: " "))
            line.append(field.word)
            line.append(UInt8(ascii: "="))
            if field.shape == .quoted { line.append(UInt8(ascii: "\"")) }
            appendValue(field)
            if field.shape == .quoted { line.append(UInt8(ascii: "\"")) }
        }
    }

    private func appendOrDash(_ field: AccessField) {
        if has(field) { appendValue(field) } else { line.append(UInt8(ascii: "-")) }
    }
}
