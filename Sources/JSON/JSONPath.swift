// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// A place in a document as configuration writes it: `a.b[0].c`, `["odd name"].x`, `$` for the whole.
///
///     path  = "$" / [ "$" ( "." / &"[" ) ] first *( "." name / "[" number "]" / "[" string "]" )
///     name  = 1*( any character but . [ ] " \ space and controls )
///
/// A name that has those is written as a JSON string in brackets. Names are compared exactly.
package struct JSONPath: Sendable, Equatable, Hashable, CustomStringConvertible {
    package enum Step: Sendable, Equatable, Hashable {
        case name([UInt8])
        case position(Int)
    }

    package var steps: [Step]

    package init(_ steps: [Step] = []) { self.steps = steps }

    /// What was wrong with a path, and where in it (bytes from its beginning).
    package struct Mistake: Error, Sendable, Equatable, CustomStringConvertible {
        package var offset: Int
        package var expected: String
        package var description: String { "at character \(offset + 1) of the path: expected \(expected)" }
    }

    /// At most this many steps: more than any document that is let in has levels.
    package static let greatestLength = 64

    package init(parsing text: String) throws(Mistake) {
        var reader = PathReader(text: Array(text.utf8))
        steps = try reader.read()
    }

    package func appending(_ step: Step) -> JSONPath { JSONPath(steps + [step]) }

    package var description: String {
        if steps.isEmpty { return "$" }
        var text = ""
        for step in steps {
            switch step {
            case .position(let position): text += "[\(position)]"
            case .name(let name) where !name.isEmpty && name.allSatisfy(PathReader.isPlain) && name != [UInt8(ascii: "$")]:
                text += (text.isEmpty ? "" : ".") + String(decoding: name, as: UTF8.self)
            case .name(let name):
                var quoted = ByteBuffer()
                quoted.append(jsonString: name.span)
                text +=
                    "[" + quoted.withReadable { unsafe $0.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } }
                    + "]"
            }
        }
        return text
    }
}

/// Reads one path.
private struct PathReader {
    let text: [UInt8]
    var position = 0
    var steps: [JSONPath.Step] = []

    init(text: [UInt8]) { self.text = text }

    static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "\""), UInt8(ascii: "\\"), 0...0x20, 0x7F: false
        default: true
        }
    }

    mutating func read() throws(JSONPath.Mistake) -> [JSONPath.Step] {
        if peek == UInt8(ascii: "$"), text.count == 1 || text[1] == UInt8(ascii: ".") || text[1] == UInt8(ascii: "[") {
            position = 1
            if text.count == 1 { return [] }
        } else if peek != UInt8(ascii: "[") {
            try name()
        }
        while let byte = peek {
            guard steps.count < JSONPath.greatestLength else { throw mistake("at most \(JSONPath.greatestLength) steps") }
            switch byte {
            case UInt8(ascii: "."):
                position += 1
                try name()
            case UInt8(ascii: "["):
                position += 1
                try bracket()
            default: throw mistake("'.' or '['")
            }
        }
        return steps
    }

    private var peek: UInt8? { position < text.count ? text[position] : nil }

    private func mistake(_ expected: String) -> JSONPath.Mistake { JSONPath.Mistake(offset: position, expected: expected) }

    private mutating func name() throws(JSONPath.Mistake) {
        let start = position
        while let byte = peek, PathReader.isPlain(byte) { position += 1 }
        guard position > start else { throw mistake("a name (one with special characters is written [\"so\"])") }
        steps.append(.name(Array(text[start..<position])))
    }

    private mutating func bracket() throws(JSONPath.Mistake) {
        if peek == UInt8(ascii: "\"") {
            let start = position
            position += 1
            while let byte = peek, byte != UInt8(ascii: "\"") { position += byte == UInt8(ascii: "\\") ? 2 : 1 }
            position = min(position + 1, text.count)
            guard let quoted = try? JSONDocument.parse(text.span.extracting(start..<position)), quoted.root.kind == .string else {
                position = start
                throw mistake("a JSON string")
            }
            steps.append(.name(quoted.root.withString { span in (0..<span.count).map { span[$0] } }))
        } else {
            var number = 0
            let start = position
            while let byte = peek, byte &- 48 < 10 {
                number = number * 10 + Int(byte - 48)
                position += 1
                guard number <= 1_000_000 else { throw mistake("a position of at most 1000000") }
            }
            guard position > start else { throw mistake("a position from 0, or a name in double quotes") }
            steps.append(.position(number))
        }
        guard peek == UInt8(ascii: "]") else { throw mistake("']'") }
        position += 1
    }
}
