// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// A path to match or to send: `/exact`, `/prefix/*` by whole segments, `/users/{id}`, or `/users/{id}/*`.
    ///
    /// `/users/*` matches `/users`, `/users/` and everything below; `/usersx` it does not. `/users` and `/users/` are two
    /// exact paths: the last segment of the second is empty.
    public struct PathPattern: Hashable, Sendable, CustomStringConvertible {
        public enum Segment: Hashable, Sendable {
            /// As it stands in a normalised path, escapes included.
            case literal(String)
            /// One segment, not empty, known by this name.
            case parameter(String)
        }

        public var segments: [Segment]
        /// Whether the pattern ends in `/*`.
        public var matchesRest: Bool

        public init(segments: [Segment], matchesRest: Bool) {
            self.segments = segments
            self.matchesRest = matchesRest
        }

        public var parameterNames: [String] {
            segments.compactMap { if case .parameter(let name) = $0 { name } else { nil } }
        }

        /// As it is written in a configuration.
        public var description: String {
            let written = segments.map { segment in
                switch segment {
                case .literal(let text): "/" + text
                case .parameter(let name): "/{" + name + "}"
                }
            }
            return written.joined() + (matchesRest ? "/*" : "")
        }

        /// Reads a pattern; the message of a `PatternError` says what is wrong with it.
        public init(_ text: String) throws(PatternError) {
            guard text.utf8.first == UInt8(ascii: "/") else { throw PatternError("a path begins with /") }
            for byte in text.utf8
            where byte <= 0x20 || byte >= 0x7F || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#")
                || byte == UInt8(ascii: "\\")
            {
                throw PatternError("a path holds visible ASCII characters but ?, # and \\; write others as %XX")
            }
            var parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
            matchesRest = parts.last == "*"
            if matchesRest { parts.removeLast() }
            segments = []
            for (index, part) in parts.enumerated() {
                if part.isEmpty && (index < parts.count - 1 || matchesRest) {
                    throw PatternError("an empty segment (//) matches nothing")
                }
                if part == "." || part == ".." { throw PatternError("a normalised path has no segment \(part)") }
                segments.append(try PathPattern.segment(part))
            }
            let names = parameterNames
            if let twice = names.enumerated().first(where: { names[..<$0.offset].contains($0.element) })?.element {
                throw PatternError("the parameter {\(twice)} stands there twice")
            }
        }

        private static func segment(_ part: Substring) throws(PatternError) -> Segment {
            if part.first == "{", part.last == "}" {
                let name = part.dropFirst().dropLast()
                guard TextTemplate.isVariableName(name) else {
                    throw PatternError("{\(name)} is no name: use lower-case letters, digits and _")
                }
                return .parameter(String(name))
            }
            if part.contains("{") || part.contains("}") { throw PatternError("a parameter is a whole segment, as in /users/{id}") }
            if part.contains("*") { throw PatternError("* stands only for the rest, at the end, as in /users/*") }
            let bytes = Array(part.utf8)
            for index in bytes.indices where bytes[index] == UInt8(ascii: "%") {
                guard index + 2 < bytes.count, let high = hexValue(bytes[index + 1]), let low = hexValue(bytes[index + 2]) else {
                    throw PatternError("% begins an escape of two hexadecimal digits")
                }
                let decoded = high << 4 | low
                if isUnreserved(decoded) {
                    throw PatternError("write \(Character(Unicode.Scalar(decoded))) for its escape: paths are matched normalised")
                }
                if bytes[index + 1] >= 0x61 || bytes[index + 2] >= 0x61 {
                    throw PatternError("write escapes in upper case, as in %C3%A9: paths are matched normalised")
                }
            }
            return .literal(String(part))
        }

        private static func hexValue(_ byte: UInt8) -> UInt8? {
            switch byte {
            case 0x30...0x39: byte - 0x30
            case 0x41...0x46: byte - 0x37
            case 0x61...0x66: byte - 0x57
            default: nil
            }
        }

        /// RFC 3986 §2.3.
        private static func isUnreserved(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: true
            default: false
            }
        }
    }

    /// What is wrong with a pattern or template.
    public struct PatternError: Error, Equatable, Sendable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }
    }

    /// Text with `{name}` places, as in the target of a redirect.
    public struct TextTemplate: Hashable, Sendable, CustomStringConvertible {
        public enum Piece: Hashable, Sendable {
            case literal(String)
            case variable(String)
        }

        public var pieces: [Piece]

        public init(pieces: [Piece]) { self.pieces = pieces }

        public var variableNames: [String] {
            pieces.compactMap { if case .variable(let name) = $0 { name } else { nil } }
        }

        public var description: String {
            pieces.map { piece in
                switch piece {
                case .literal(let text): text
                case .variable(let name): "{" + name + "}"
                }
            }.joined()
        }

        public init(_ text: String) throws(PatternError) {
            pieces = []
            var rest = text[...]
            while let open = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
                guard rest[open] == "{", let close = rest[open...].firstIndex(of: "}") else {
                    throw PatternError("a { has its }, around one name")
                }
                let name = rest[rest.index(after: open)..<close]
                guard TextTemplate.isVariableName(name) else {
                    throw PatternError("{\(name)} is no name: use lower-case letters, digits and _")
                }
                if open > rest.startIndex { pieces.append(.literal(String(rest[..<open]))) }
                pieces.append(.variable(String(name)))
                rest = rest[rest.index(after: close)...]
            }
            if !rest.isEmpty { pieces.append(.literal(String(rest))) }
        }

        static func isVariableName(_ name: Substring) -> Bool {
            guard let first = name.utf8.first, (0x61...0x7A).contains(first), name.utf8.count <= 64 else { return false }
            return name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "_") }
        }
    }
}
