// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// Makes an upstream's path or a redirect's target out of a request: literal text with `{placeholders}`.
///
///     /v2/orders/{id}             a captured segment of the route's pattern
///     /internal{rest}             what the pattern's `*` stands for, from its slash on (it may be empty)
///     https://{host}{path}        redirects only: {scheme}, {host} without its port, {authority} with it
///
/// `{path}` is the whole path as it was matched. A query in a template replaces the request's; otherwise the request's query
/// is kept, which `{query}` at the end of a redirect's target says aloud. All of it is checked when it is made, so that rendering cannot fail on the template's account.
package struct TargetTemplate: Equatable, Sendable {
    package enum Use: Sendable {
        /// The path of a request to an upstream.
        case path
        /// The `Location` of a redirect.
        case redirect
    }

    enum Part: Equatable, Sendable {
        /// A range of `text`.
        case literal(Range32)
        case capture(Int)
        case path, rest, scheme, host, authority
    }

    /// Placeholders that no parameter can be named after.
    static let reservedNames = ["path", "rest", "scheme", "host", "authority", "query"]

    private(set) var parts: [Part] = []
    private(set) var text: [UInt8] = []
    private let use: Use
    /// Whether the template brings a query of its own.
    private(set) var hasQuery = false

    /// Throws if the template is not well-formed or names what `pattern` does not capture.
    package init(_ given: String, for pattern: PathPattern, use: Use) throws(PatternError) {
        self.use = use
        // The query is kept where the template has none: the placeholder asks for what happens anyhow.
        let keepsQuery = use == .redirect && given.hasSuffix("{query}")
        let template = keepsQuery ? String(given.dropLast("{query}".utf8.count)) : given
        let names = pattern.parameterNames
        var literal: [UInt8] = []
        var rest = Array(template.utf8)[...]
        if rest.isEmpty { throw PatternError(message: "an empty template") }
        while let byte = rest.first {
            guard byte == UInt8(ascii: "{") else {
                if byte == UInt8(ascii: "}") { throw PatternError(message: "a “}” without its “{”") }
                literal.append(byte)
                rest.removeFirst()
                continue
            }
            guard let close = rest.firstIndex(of: UInt8(ascii: "}")) else {
                throw PatternError(message: "a “{” without its “}”")
            }
            let name = String(decoding: rest[(rest.startIndex + 1)..<close], as: UTF8.self)
            try add(literal: literal)
            literal = []
            parts.append(try TargetTemplate.part(named: name, names, pattern, use))
            rest = rest[(close + 1)...]
        }
        try add(literal: literal)
        if keepsQuery && hasQuery { throw PatternError(message: "a target with a query of its own and {query}") }
        try checkStart(template)
        if case .redirect = use { try checkAuthority(template) }
        try checkJoints()
    }

    private static func part(
        named name: String, _ names: [String], _ pattern: PathPattern, _ use: Use
    ) throws(PatternError) -> Part {
        switch name {
        case "path": return .path
        case "rest":
            if !pattern.isPrefix { throw PatternError(message: "{rest} needs a path that ends in “/*”") }
            return .rest
        case "query": throw PatternError(message: "{query} stands at the end of a redirect's target, once")
        case "scheme", "host", "authority":
            if use == .path { throw PatternError(message: "{\(name)} is for redirects, not for an upstream's path") }
            return name == "scheme" ? .scheme : name == "host" ? .host : .authority
        default:
            if let position = names.firstIndex(of: name) { return .capture(position) }
            let known = names.isEmpty ? "the route's path captures nothing" : "known are {\(names.joined(separator: "}, {"))}"
            throw PatternError(message: "{\(name)} is not captured by the route's path; \(known)")
        }
    }

    private mutating func add(literal bytes: [UInt8]) throws(PatternError) {
        if bytes.isEmpty { return }
        if bytes.contains(UInt8(ascii: "?")) { hasQuery = true }
        for (i, byte) in bytes.enumerated() {
            if byte == RequestPath.percent {
                guard i + 2 < bytes.count, bytes[i + 1].hexDigitValue != nil, bytes[i + 2].hexDigitValue != nil else {
                    throw PatternError(message: "a broken escape; a percent sign itself is “%25”")
                }
                continue
            }
            let isQuery = byte == UInt8(ascii: "?") && use == .redirect
            let isFragment = byte == UInt8(ascii: "#") && use == .redirect
            let isAddress = (byte == UInt8(ascii: "[") || byte == UInt8(ascii: "]")) && use == .redirect
            if !byte.isPlainInPath && !isQuery && !isFragment && !isAddress {
                let shown = String(decoding: [byte], as: UTF8.self)
                throw PatternError(message: "“\(shown)” cannot stand in a target as it is; write it as an escape")
            }
        }
        parts.append(.literal(Range32(start: text.count, count: bytes.count)))
        text += bytes
    }

    private func checkStart(_ template: String) throws(PatternError) {
        switch parts.first {
        case .path, .rest: return
        case .scheme where template.hasPrefix("{scheme}://"): return
        case .literal(let range):
            let start = String(decoding: text[range.range], as: UTF8.self)
            if start.hasPrefix("/") && !start.hasPrefix("//") { return }
            if use == .redirect && (start.hasPrefix("https://") || start.hasPrefix("http://")) { return }
        default: break
        }
        throw PatternError(
            message: use == .path
                ? "a path starts with “/”, {path} or {rest}"
                : "a redirect's target starts with “https://”, “http://”, {scheme}://, “/”, {path} or {rest}")
    }

    /// Where a redirect names a host, no part of it may come from the path: `https://a.example{id}` would send clients to
    /// whatever host a link's author likes.
    private func checkAuthority(_ template: String) throws(PatternError) {
        guard let scheme = template.firstRange(of: "://"), !template.hasPrefix("/"), !template.hasPrefix("{path}"),
            !template.hasPrefix("{rest}")
        else { return }
        var authority = template[scheme.upperBound...]
        for end in ["/", "?", "#", "{path}", "{rest}"] {
            if let found = authority.firstRange(of: end) { authority = authority[..<found.lowerBound] }
        }
        let known = authority.replacing("{host}", with: "h").replacing("{authority}", with: "h")
        if known.isEmpty { throw PatternError(message: "a redirect's target has no host behind “://”") }
        if known.contains("{") { throw PatternError(message: "a redirect's host cannot come from the path") }
        if known.contains("@") { throw PatternError(message: "a redirect's target with user information") }
    }

    /// No literal may make a dot segment, alone or with what a placeholder brings: what is sent must be normal too.
    private func checkJoints() throws(PatternError) {
        var pathText = text.count
        if let query = text.firstIndex(of: UInt8(ascii: "?")) { pathText = query }
        for (position, part) in parts.enumerated() {
            guard case .literal(let range) = part else { continue }
            let literal = text[range.range.clamped(to: 0..<pathText)]
            let segments = literal.split(separator: RequestPath.slash, omittingEmptySubsequences: false)
            for (i, segment) in segments.enumerated() {
                let startsSegment = i > 0 || position == 0
                let isDots = !segment.isEmpty && segment.allSatisfy { $0 == RequestPath.dot }
                if startsSegment && isDots && segment.count <= 2 {
                    throw PatternError(message: "a dot segment in a target")
                }
                var ignored = false
                if startsSegment, i < segments.count - 1 || position == parts.count - 1, !segment.isEmpty,
                    segment.allSatisfy({ $0.isPlainInPath || $0 == RequestPath.percent }),
                    PathPattern.normalSegment(Array(segment), hasEncodedSlash: &ignored) == nil
                {
                    throw PatternError(message: "“\(String(decoding: segment, as: UTF8.self))” makes an ambiguous path")
                }
            }
        }
    }

    // MARK: Rendering

    /// Writes the target to the end of the request's arena; nil if the request's host cannot stand in a `Location` (then the
    /// answer is 400 `request.host`).
    package func render(_ head: RequestHead, _ match: borrowing RouteTable.Match, isSecure: Bool) -> Slice? {
        let start = head.fields.arena.count
        for (position, part) in parts.enumerated() {
            switch part {
            case .literal(let range): head.fields.arena.append(text.span.extracting(range.range))
            case .capture(let i): head.fields.arena.append(copying: match.captures[i])
            case .path: appendPath(head.path, to: head, from: start, isFirst: position == 0)
            case .rest: appendPath(match.rest, to: head, from: start, isFirst: position == 0)
            case .scheme: head.fields.arena.append(isSecure ? "https" : "http")
            case .host, .authority:
                guard let name = authority(of: head, withPort: part == .authority) else { return nil }
                head.fields.arena.append(copying: name)
            }
        }
        if head.fields.arena.count == start { head.fields.arena.append(RequestPath.slash) }
        if use == .redirect && !hasQuery && head.hasQuery {
            head.fields.arena.append(UInt8(ascii: "?"))
            head.fields.arena.append(copying: head.query)
        }
        return Slice(offset: start, length: head.fields.arena.count - start)
    }

    /// Two slashes never meet at a joint, and a target that begins with a path begins with one slash: `//evil.example` in a
    /// `Location` would be another host.
    private func appendPath(_ path: Slice, to head: RequestHead, from start: Int, isFirst: Bool) {
        var offset = path.range.lowerBound
        let end = path.range.upperBound
        let endsInSlash =
            head.fields.arena.count > start && head.fields.byte(at: head.fields.arena.count - 1) == RequestPath.slash
        if isFirst || endsInSlash {
            while offset < end && head.fields.byte(at: offset) == RequestPath.slash { offset += 1 }
            if isFirst { head.fields.arena.append(RequestPath.slash) }
        }
        head.fields.arena.append(copying: Slice(offset: offset, length: end - offset))
    }

    private func authority(of head: RequestHead, withPort: Bool) -> Slice? {
        let authority = head.authority
        let length: Int? = head.withBytes(authority) { bytes in
            if bytes.isEmpty { return nil }
            for i in bytes.indices where !bytes[i].isPlainInAuthority { return nil }
            return withPort ? bytes.count : HostPattern.name(in: bytes).count
        }
        guard let length, length > 0 else { return nil }
        return Slice(offset: authority.range.lowerBound, length: length)
    }
}

extension FieldSection {
    func byte(at offset: Int) -> UInt8 { arena.readable[offset] }
}

extension ByteBuffer {
    /// Appends a copy of bytes that this buffer holds itself.
    mutating func append(copying slice: Slice) {
        reserve(slice.range.count)
        for i in slice.range {
            let byte = readable[i]
            append(byte)
        }
    }
}
