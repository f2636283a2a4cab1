// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// One access line in the making. Lent by `AccessLog.write`.
///
/// Fields may come in any order; the line has them in `AccessField`'s. A field given twice has its last value, one that was
/// not given is absent (JSON) or `-` (the common part of a text line). No `String` is made and nothing is allocated once
/// the buffers have grown.
package struct AccessLine: ~Copyable {
    private let settings: AccessLog.Settings
    private let escaping: LogEscaping
    private let keys: AccessKeys
    private var time = WallTimeFormat()
    private var wall: Int64 = 0
    /// The escaped values, in the order they came.
    private var values = ByteBuffer()
    /// Where in `values` each field is: offset in the upper half, length in the lower.
    private var places = InlineArray<32, UInt64>(repeating: 0)
    /// One bit a field.
    private var present: UInt32 = 0
    private var output = ByteBuffer()

    init(settings: AccessLog.Settings) {
        self.settings = settings
        escaping = settings.format == .json ? .json : .text
        keys = AccessKeys(settings.format)
    }

    mutating func begin(at unixNanoseconds: Int64) {
        values.removeAll()
        present = 0
        wall = unixNanoseconds
        time.appendRFC3339(unixNanoseconds, to: &values)
        place(.time, from: 0)
    }

    // MARK: Fields

    /// Bytes that a peer may have chosen: escaped, and cut at the limit. A field that holds a number takes no bytes: it
    /// stays absent.
    package mutating func field(_ field: AccessField, _ bytes: Span<UInt8>) {
        if field == .path { target(bytes) } else { put(field, bytes) }
    }

    /// A name from the configuration. The string should be a stored one.
    package mutating func field(_ field: AccessField, text: String) { self.field(field, text.utf8.span) }

    /// A word known at compile time that needs no escaping.
    package mutating func field(_ field: AccessField, _ word: StaticString) {
        let start = values.count
        values.append(word)
        place(field, from: start)
    }

    package mutating func field(_ field: AccessField, _ reason: Reason) { put(field, reason.rawValue.utf8.span) }

    package mutating func field(_ field: AccessField, _ number: Int) {
        let start = values.count
        values.append(decimal: number)
        place(field, from: start)
    }

    package mutating func field(_ field: AccessField, _ number: UInt64) {
        let start = values.count
        values.append(decimal: number)
        place(field, from: start)
    }

    package mutating func field(_ field: AccessField, _ flag: Bool) { self.field(field, flag ? "true" : "false") }

    /// A stage's time, written in whole microseconds; negative counts as 0.
    package mutating func field(_ field: AccessField, nanoseconds: Int64) {
        self.field(field, UInt64(max(nanoseconds, 0)) / 1_000)
    }

    /// The request's target, its query treated as the settings say.
    package mutating func target(_ bytes: Span<UInt8>) {
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

    private mutating func put(_ field: AccessField, _ bytes: Span<UInt8>) {
        guard field.shape != .bare else { return }
        let start = values.count
        // In a text line the client's address and other words stand without quotes.
        let isBare = settings.format == .text && field.shape != .quoted
        values.append(escaping: bytes, as: isBare ? .bare : escaping, limit: settings.fieldLimitBytes)
        place(field, from: start)
    }

    /// `?a=1&b&c=` becomes `?a=*&*&c=*`.
    private mutating func appendRedacted(_ query: Span<UInt8>, limit: Int) {
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

    @inline(__always)
    private mutating func place(_ field: AccessField, from start: Int) {
        places[field.rawValue] = UInt64(start) << 32 | UInt64(values.count - start)
        present |= field.bit
    }

    // MARK: The line

    /// Puts the line together and hands it to the lane. False: dropped, and counted there.
    mutating func finish(into lane: LogLane) -> Bool {
        output.removeAll()
        output.reserve(values.count + 768)  // all keys of either format are shorter
        switch settings.format {
        case .json:
            appendFields(present)
            output.append("}\n")
        case .text:
            appendCommonPart()
            appendFields(present & ~AccessField.commonPart)
            output.append(UInt8(ascii: "\n"))
        }
        present = 0
        return output.withReadable { lane.append($0) }
    }

    /// The fields of a set of bits, each after its key.
    private mutating func appendFields(_ bits: UInt32) {
        var rest = bits
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            rest &= rest - 1
            keys.append(index, to: &output)
            appendValue(index)
            if keys.closesWithQuote & (1 << UInt32(index)) != 0 { output.append(UInt8(ascii: "\"")) }
        }
    }

    /// `client - - [time] "method path protocol" status bytes "referrer" "user agent"`
    private mutating func appendCommonPart() {
        appendOrDash(.client)
        output.append(" - - [")
        time.appendCommonLog(wall, to: &output)
        output.append("] \"")
        appendOrDash(.method)
        output.append(UInt8(ascii: " "))
        appendOrDash(.path)
        output.append(UInt8(ascii: " "))
        appendOrDash(.protocol)
        output.append("\" ")
        appendOrDash(.status)
        output.append(UInt8(ascii: " "))
        appendOrDash(.bytesOut)
        // The referrer's place: not logged, since its query is another site's secret.
        output.append(" \"-\" \"")
        appendOrDash(.userAgent)
        output.append(UInt8(ascii: "\""))
    }

    private mutating func appendOrDash(_ field: AccessField) {
        if present & field.bit != 0 {
            appendValue(field.rawValue)
        } else {
            output.append(UInt8(ascii: "-"))
        }
    }

    @inline(__always)
    private mutating func appendValue(_ index: Int) { AccessLine.copy(places[index], of: values, to: &output) }

    @inline(__always)
    private static func copy(_ place: UInt64, of values: borrowing ByteBuffer, to output: inout ByteBuffer) {
        let start = Int(place >> 32)
        output.append(values.readable.extracting(start..<start + Int(place & 0xFFFF_FFFF)))
    }
}

/// What stands before each field's value, made once: `,"status":` in JSON, ` status=` in text, with the opening quote.
struct AccessKeys: Sendable {
    private var bytes: [UInt8] = []
    /// Where each key begins; one more than there are fields.
    private var starts: [Int] = [0]
    /// The fields whose value a quote follows.
    private(set) var closesWithQuote: UInt32 = 0

    init(_ format: AccessLog.Format) {
        for field in AccessField.allCases {
            let word = String(describing: field.word)
            let isQuoted = format == .json ? field.shape != .bare : field.shape == .quoted
            switch format {
            // The time is always there and first.
            case .json: bytes += Array("\(field == .time ? "{" : ",")\"\(word)\":".utf8)
            case .text: bytes += Array(" \(word)=".utf8)
            }
            if isQuoted {
                bytes.append(UInt8(ascii: "\""))
                closesWithQuote |= field.bit
            }
            starts.append(bytes.count)
        }
    }

    @inline(__always)
    func append(_ index: Int, to output: inout ByteBuffer) {
        output.append(bytes.span.extracting(starts[index]..<starts[index + 1]))
    }
}
