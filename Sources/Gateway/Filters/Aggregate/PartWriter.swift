// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import JSON

/// A template of a part's path or of one of its fields, made ready.
///
/// What goes into a path must not change its shape: a value there is escaped, and one that would be no segment of its own (empty, `.`, `..`, or
/// with a slash in it) is refused. In a query it is escaped.
struct PartWriter: Sendable {
    private enum Piece: Sendable {
        case literal([UInt8])
        case request(ValueWriter, Origin)
        case value(part: Int, list: JSONPath?, item: JSONPath)
    }

    /// Where a variable's text comes from, and so which escapes it has.
    private enum Origin: Sendable {
        /// The request's path, which is normal: it can stand in a path as it is.
        case path
        /// The request's query, as it was written.
        case query
        /// Plain text.
        case elsewhere
    }

    enum Problem: Error, Equatable {
        /// A value is not there, or cannot stand where it should.
        case missing
        /// A list is empty: there is nothing to ask for.
        case nothing
    }

    /// Of a list, at most so many values go into one request.
    static let greatestList = 500

    private let pieces: [Piece]

    /// - Parameter parts: names, in the plan's order.
    init(_ template: Configuration.PartTemplate, parts: [String], parameters: [String]) {
        pieces = template.pieces.flatMap { piece -> [Piece] in
            switch piece {
            case .part(let reference):
                return parts.firstIndex(of: reference.part).map { [.value(part: $0, list: reference.list, item: reference.item)] }
                    ?? []
            case .text(let template):
                return template.pieces.map { piece in
                    switch piece {
                    case .literal(let text): return .literal(Array(text.utf8))
                    case .variable(let variable):
                        let single = Configuration.ValueTemplate(variable)
                        return .request(ValueWriter(single, parameters: parameters), PartWriter.origin(of: variable))
                    }
                }
            }
        }
    }

    private static func origin(of variable: Configuration.ValueTemplate.Variable) -> Origin {
        switch variable {
        case .path, .parameter: .path
        case .query, .queryParameter: .query
        default: .elsewhere
        }
    }

    /// Appends a path and query.
    func writeTarget(
        _ pass: FilterPass, values: (Int) -> JSONValue?, into out: inout ByteBuffer
    ) throws(Problem) {
        var isInQuery = false
        for piece in pieces {
            switch piece {
            case .literal(let text):
                out.append(text)
                if text.contains(UInt8(ascii: "?")) { isInQuery = true }
            case .request(let writer, let origin):
                var text = ByteBuffer()
                writer.write(pass, into: &text)
                switch origin {
                case .path:
                    if !isInQuery, text.isEmpty { throw .missing }
                    out.append(text.readable)
                case .query where isInQuery: out.append(text.readable)
                case .query:
                    let plain = text.readable.unescaped
                    try PartWriter.append(plain.span, isInQuery: false, to: &out)
                case .elsewhere: try PartWriter.append(text.readable, isInQuery: isInQuery, to: &out)
                }
            case .value(let part, let list, let item):
                try PartWriter.each(part, list, item, values) { (span: Span<UInt8>, isFirst: Bool) throws(Problem) in
                    if !isFirst { out.append(UInt8(ascii: ",")) }
                    try PartWriter.append(span, isInQuery: isInQuery, to: &out)
                }
            }
        }
    }

    /// Appends a field's value.
    func writeField(
        _ pass: FilterPass, values: (Int) -> JSONValue?, into out: inout ByteBuffer
    ) throws(Problem) {
        for piece in pieces {
            switch piece {
            case .literal(let text): out.append(text)
            case .request(let writer, _): writer.write(pass, into: &out)
            case .value(let part, let list, let item):
                try PartWriter.each(part, list, item, values) { (span: Span<UInt8>, isFirst: Bool) throws(Problem) in
                    // What a service said must not end the line, in whatever protocol.
                    for i in span.indices where span[i] < 0x20 || span[i] == 0x7F { throw .missing }
                    if !isFirst { out.append(UInt8(ascii: ",")) }
                    out.append(span)
                }
            }
        }
    }

    private static func append(_ text: Span<UInt8>, isInQuery: Bool, to out: inout ByteBuffer) throws(Problem) {
        if !isInQuery, text.isNoSegment { throw .missing }
        for i in text.indices { out.append(queryEscaping: text[i]) }
    }

    /// The values that a reference means: of a list each once, in its order.
    private static func each(
        _ part: Int, _ list: JSONPath?, _ item: JSONPath, _ values: (Int) -> JSONValue?,
        _ body: (Span<UInt8>, Bool) throws(Problem) -> Void
    ) throws(Problem) {
        guard let value = values(part) else { throw .missing }
        guard let list else {
            guard let text = value[item]?.keyBytes else { throw .missing }
            return try body(text.span, true)
        }
        guard let array = value[list], array.kind == .array else { throw .missing }
        var seen: Set<[UInt8]> = []
        for element in array.elements {
            guard let text = element[item]?.keyBytes, seen.insert(text).inserted else { continue }
            guard seen.count <= greatestList else { throw .missing }
            try body(text.span, seen.count == 1)
        }
        if seen.isEmpty { throw .nothing }
    }
}

extension Span<UInt8> {
    /// Whether these bytes cannot be a segment of a path, or a part of one, without making it another path.
    fileprivate var isNoSegment: Bool {
        if isEmpty || equals(".") || equals("..") { return true }
        for i in indices where self[i] == UInt8(ascii: "/") || self[i] == UInt8(ascii: "\\") || self[i] < 0x20 { return true }
        return false
    }

    /// What these bytes of a query mean; `+` is a space, as in forms.
    fileprivate var unescaped: [UInt8] {
        var plain: [UInt8] = []
        var i = 0
        while i < count {
            if self[i] == UInt8(ascii: "%"), i + 2 < count, let high = self[i + 1].hexDigitValue,
                let low = self[i + 2].hexDigitValue
            {
                plain.append(high << 4 | low)
                i += 3
            } else {
                plain.append(self[i] == UInt8(ascii: "+") ? UInt8(ascii: " ") : self[i])
                i += 1
            }
        }
        return plain
    }
}
