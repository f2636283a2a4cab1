// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// Brings a request's path into the one spelling that is matched *and* forwarded, or refuses it (case A15).
///
/// What is done (RFC 3986 §6.2.2): dot segments resolved, encoded dots included; escapes of unreserved characters decoded;
/// the hex digits of all others in upper case; bytes that a URI must not carry raw (`"<>[]^{|}`, the grave accent and
/// everything from 0x80) escaped. Parameters after `;` are kept. `%25` is never decoded, so nothing is decoded twice.
///
/// What is refused with 400 `request.target`, because a second parser could read it differently: broken escapes, `%00`,
/// controls and spaces, `#`, a backslash, a path that climbs above the root, a dot segment with parameters (`..;`, which
/// some servers resolve) and one next to an encoded slash (`..%2F`). `%2F` and `%5C` stay as they are and are reported, so
/// that only a route that allows them takes them. Fragment and query are not part of the path.
package enum RequestPath {
    /// What to do with empty segments (`//`).
    package enum EmptySegments: Sendable {
        /// `//` is one `/`, as most servers read it. The default: `//admin` cannot slip past a route for `/admin`.
        case merge
        /// Kept. For upstreams to which they mean something (object stores).
        case keep
        /// 400 `request.target`.
        case refuse
    }

    package enum Outcome: Equatable, Sendable {
        /// Normal now; no encoded slash.
        case normal
        /// Normal now, with `%2F` or `%5C` in it: 400 `request.target` unless the route that matched allows them.
        case encodedSlash
        /// 400 `request.target`.
        case refused
    }

    /// Makes `head.path` normal. A path that is normal already, the common case, costs one scan; another is written anew at
    /// the end of the head's arena. `*` (for OPTIONS, RFC 9112 §3.2.4) stays.
    package static func normalise(_ head: RequestHead, emptySegments: EmptySegments = .merge) -> Outcome {
        let path = head.parts.path
        switch head.reading(path, { scan($0) }) {
        case .normal:
            return .normal
        case .refused:
            return .refused
        case .rewrite(let capacity):
            var outcome = Outcome.refused
            unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: capacity) { scratch in
                var out = unsafe OutputSpan(buffer: scratch, initializedCount: 0)
                outcome = head.reading(path) { rewrite($0, emptySegments: emptySegments, into: &out) }
                if outcome != .refused { head.path = head.fields.store(out.span) }
                _ = unsafe out.finalize(for: scratch)
            }
            return outcome
        }
    }

    // MARK: The scan

    enum Scan: Equatable {
        case normal
        case refused
        /// Something may have to change; so many bytes hold the result.
        case rewrite(capacity: Int)
    }

    static func scan(_ path: Span<UInt8>) -> Scan {
        let n = path.count
        if n == 0 { return .refused }
        if path[0] != slash { return n == 1 && path[0] == asterisk ? .normal : .refused }
        var i = 1
        var afterSlash = true
        while i < n {
            let c = path[i]
            if !c.isPlainInPath { return .rewrite(capacity: capacity(path, from: i)) }
            if afterSlash {
                if c == slash { return .rewrite(capacity: capacity(path, from: i)) }
                // A dot starts a dot segment only if nothing but a dot, a parameter or the end follows it.
                if c == dot {
                    let next = i + 1 < n ? path[i + 1] : slash
                    if next == slash || next == dot || next == semicolon { return .rewrite(capacity: capacity(path, from: i)) }
                }
            }
            afterSlash = c == slash
            i += 1
        }
        return .normal
    }

    /// Bytes that escape raw octets grow to three; nothing else grows.
    private static func capacity(_ path: Span<UInt8>, from start: Int) -> Int {
        var growth = 0
        for i in start..<path.count where !path[i].isPlainInPath { growth += 2 }
        return path.count + growth
    }

    // MARK: The rewrite

    /// Writes the normal form of `path`, which starts with a slash, into `out`.
    static func rewrite(_ path: Span<UInt8>, emptySegments: EmptySegments, into out: inout OutputSpan<UInt8>) -> Outcome {
        let n = path.count
        var outcome = Outcome.normal
        var i = 0
        while i < n {
            // `path[i]` is the slash before one segment.
            let start = out.count
            out.append(slash)
            i += 1
            let segment = appendSegment(path, at: &i, into: &out)
            let isLast = i == n
            switch segment {
            case .refused:
                return .refused
            case .ordinary:
                break
            case .encodedSlash:
                outcome = .encodedSlash
            case .empty where isLast:
                break
            case .empty:
                switch emptySegments {
                case .merge: out.removeLast(1)
                case .keep: break
                case .refuse: return .refused
                }
            case .dot:
                out.removeLast(out.count - start)
                if isLast { out.append(slash) }
            case .dotDot:
                if start == 0 { return .refused }
                out.removeLast(out.count - start)
                removeSegment(&out)
                if isLast { out.append(slash) }
            }
        }
        return outcome
    }

    private enum Segment { case ordinary, encodedSlash, empty, dot, dotDot, refused }

    /// Copies one segment, decoding and encoding; `i` is behind it afterwards.
    private static func appendSegment(_ path: Span<UInt8>, at i: inout Int, into out: inout OutputSpan<UInt8>) -> Segment {
        let start = out.count
        // A piece is what a server that decodes %2F, or drops parameters, would take for a segment.
        var pieceStart = start
        var inParameters = false
        var hasEncodedSlash = false
        while i < path.count && path[i] != slash {
            let c = path[i]
            if c == percent {
                guard i + 2 < path.count, let high = path[i + 1].hexDigitValue, let low = path[i + 2].hexDigitValue else {
                    return .refused
                }
                let value = high << 4 | low
                i += 3
                if value == 0 { return .refused }
                if value.isUnreserved {
                    out.append(value)
                } else if value == slash || value == backslash {
                    if !inParameters && dots(out.span, from: pieceStart) > 0 { return .refused }
                    appendEscape(of: value, into: &out)
                    hasEncodedSlash = true
                    inParameters = false
                    pieceStart = out.count
                } else {
                    appendEscape(of: value, into: &out)
                }
                continue
            }
            i += 1
            if c.isPlainInPath {
                if c == semicolon && !inParameters {
                    if dots(out.span, from: pieceStart) > 0 { return .refused }
                    inParameters = true
                }
                out.append(c)
            } else if c.isForbiddenInPath {
                return .refused
            } else {
                appendEscape(of: c, into: &out)
            }
        }
        if out.count == start { return .empty }
        let dots = inParameters ? 0 : dots(out.span, from: pieceStart)
        if hasEncodedSlash { return dots > 0 ? .refused : .encodedSlash }
        return dots == 0 ? .ordinary : dots == 1 ? .dot : .dotDot
    }

    /// 1 if the bytes from `start` are `.`, 2 if they are `..`, else 0.
    private static func dots(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let n = bytes.count - start
        if n == 1 { return bytes[start] == dot ? 1 : 0 }
        if n == 2 { return bytes[start] == dot && bytes[start + 1] == dot ? 2 : 0 }
        return 0
    }

    private static func removeSegment(_ out: inout OutputSpan<UInt8>) {
        while !out.isEmpty && out.removeLast() != slash {}
    }

    private static func appendEscape(of byte: UInt8, into out: inout OutputSpan<UInt8>) {
        out.append(percent)
        out.append((byte >> 4).upperHexDigit)
        out.append((byte & 15).upperHexDigit)
    }

    static let slash = UInt8(ascii: "/")
    static let backslash = UInt8(ascii: "\\")
    static let dot = UInt8(ascii: ".")
    static let semicolon = UInt8(ascii: ";")
    static let percent = UInt8(ascii: "%")
    static let asterisk = UInt8(ascii: "*")
}
