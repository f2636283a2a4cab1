// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// What a route's `path` says, taken apart and in normal form.
///
///     /users               exactly this path
///     /users/{id}/orders   each {name} is one whole segment that is not empty
///     /users/*             /users and everything below it, but not /usersx
///     /*                   every path
///
/// `/users` and `/users/` are two paths. Literal text may be escaped or not; it is compared in the form that
/// `RequestPath` gives a request's path.
package struct PathPattern: Equatable, Sendable {
    package enum Segment: Equatable, Sendable {
        /// In normal form. Only the last can be empty: a path that ends in a slash.
        case literal([UInt8])
        case parameter(String)
    }

    /// Captured segments a pattern may have: they are kept in a buffer of that size in each match.
    package static let maximumParameters = 8
    /// Segments a pattern may have.
    package static let maximumSegments = 64

    package private(set) var segments: [Segment] = []
    /// Whether the pattern ends in `/*`.
    package private(set) var isPrefix = false
    /// Whether a literal has `%2F` or `%5C`: only a rule that allows encoded slashes can use it.
    package private(set) var hasEncodedSlash = false

    package var parameterNames: [String] {
        segments.compactMap { segment in
            if case .parameter(let name) = segment { name } else { nil }
        }
    }

    package init(_ text: String) throws(PatternError) {
        guard text.utf8.first == RequestPath.slash else { throw PatternError(message: "a path starts with “/”") }
        var pieces = text.utf8.dropFirst().split(separator: RequestPath.slash, omittingEmptySubsequences: false)[...]
        if pieces.last.map({ $0.elementsEqual("*".utf8) }) == true {
            isPrefix = true
            pieces.removeLast()
        }
        for (position, piece) in pieces.enumerated() {
            let isLast = position == pieces.count - 1
            if piece.isEmpty && (!isLast || isPrefix) {
                throw PatternError(message: "an empty segment (“//”) is never matched")
            }
            segments.append(try segment([UInt8](piece)))
        }
        if segments.count > PathPattern.maximumSegments {
            throw PatternError(message: "more than \(PathPattern.maximumSegments) segments")
        }
        let names = parameterNames
        if names.count > PathPattern.maximumParameters {
            throw PatternError(message: "more than \(PathPattern.maximumParameters) parameters")
        }
        if let double = names.indices.first(where: { names[..<$0].contains(names[$0]) }) {
            throw PatternError(message: "the parameter {\(names[double])} stands twice")
        }
    }

    private mutating func segment(_ bytes: [UInt8]) throws(PatternError) -> Segment {
        let text = String(decoding: bytes, as: UTF8.self)
        let open = UInt8(ascii: "{")
        let close = UInt8(ascii: "}")
        if bytes.contains(open) || bytes.contains(close) {
            guard bytes.first == open, bytes.last == close, bytes.count > 2 else {
                throw PatternError(message: "“\(text)”: a parameter is a whole segment, such as /{id}/")
            }
            let name = bytes[1..<(bytes.count - 1)]
            guard name.allSatisfy({ $0.isParameterNameCharacter }) else {
                throw PatternError(message: "“\(text)”: a parameter's name has letters, digits and “_”")
            }
            let found = String(decoding: name, as: UTF8.self)
            if TargetTemplate.reservedNames.contains(found) {
                throw PatternError(message: "{\(found)} has a meaning of its own in templates; choose another name")
            }
            return .parameter(found)
        }
        if bytes.contains(RequestPath.asterisk) {
            throw PatternError(message: "“\(text)”: “*” stands alone and last, as in /users/*")
        }
        guard let normal = PathPattern.normalSegment(bytes, hasEncodedSlash: &hasEncodedSlash) else {
            throw PatternError(message: "“\(text)” can never be matched: a dot segment, a broken escape or a forbidden character")
        }
        return .literal(normal)
    }

    /// `bytes` as one segment in normal form; nil if they are refused or vanish.
    static func normalSegment(_ bytes: [UInt8], hasEncodedSlash: inout Bool) -> [UInt8]? {
        guard let (normal, encodedSlash) = RequestPath.normalised([RequestPath.slash] + bytes) else { return nil }
        if encodedSlash { hasEncodedSlash = true }
        // A dot segment vanishes or leaves nothing but the slash.
        guard normal.count >= 1 + (bytes.isEmpty ? 0 : 1) else { return nil }
        return Array(normal.dropFirst())
    }
}

extension RequestPath {
    /// The normal form of a path from a configuration with empty segments kept; nil if it is refused.
    static func normalised(_ path: [UInt8]) -> (path: [UInt8], hasEncodedSlash: Bool)? {
        guard path.first == slash else { return nil }
        var outcome = Outcome.refused
        let bytes = [UInt8](capacity: path.count * 3) { out in
            outcome = rewrite(path.span, emptySegments: .keep, into: &out)
        }
        return outcome == .refused ? nil : (bytes, outcome == .encodedSlash)
    }
}

extension UInt8 {
    fileprivate var isParameterNameCharacter: Bool {
        isASCIIDigit || self == UInt8(ascii: "_") || (self | 0x20 >= UInt8(ascii: "a") && self | 0x20 <= UInt8(ascii: "z"))
    }
}
