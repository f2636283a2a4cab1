// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// What a route's `host` says: `a.example` is that host; `*.a.example` is every name below it, one label or more, but not
/// `a.example` itself; nothing is every host. Letters in any case; the port of a request and one final dot do not count.
package enum HostPattern: Equatable, Hashable, Sendable {
    case any
    /// In lower case.
    case exact([UInt8])
    /// What follows `*.`, in lower case.
    case below([UInt8])

    /// Longer names (RFC 1035 §2.3.4 allows 253 octets; an address or a port may add some) match no host but the default.
    static let maximumLength = 255

    package init(_ text: String?) throws(PatternError) {
        guard let text, !text.isEmpty, text != "*" else {
            self = .any
            return
        }
        var bytes = text.utf8.map(\.asciiLowercased)
        if bytes.count > HostPattern.maximumLength { throw PatternError(message: "a host has at most 255 characters") }
        let isWildcard = bytes.starts(with: "*.".utf8)
        if isWildcard { bytes.removeFirst(2) }
        if bytes.last == RequestPath.dot { bytes.removeLast() }
        guard !bytes.isEmpty else { throw PatternError(message: "“\(text)” names no host") }
        if bytes.contains(RequestPath.asterisk) {
            throw PatternError(message: "“\(text)”: “*” stands for whole labels in front, as in *.example.com")
        }
        let isAddress = bytes.first == UInt8(ascii: "[") && bytes.last == UInt8(ascii: "]")
        if !isAddress && bytes.contains(UInt8(ascii: ":")) {
            throw PatternError(message: "“\(text)”: a host is matched without its port")
        }
        guard bytes.allSatisfy({ $0.isPlainInAuthority }) else {
            throw PatternError(message: "“\(text)” has a character that no host has")
        }
        let labels = bytes.split(separator: RequestPath.dot, omittingEmptySubsequences: false)
        if labels.contains(where: \.isEmpty) { throw PatternError(message: "“\(text)” has an empty label") }
        self = isWildcard ? .below(bytes) : .exact(bytes)
    }

    /// The part of `authority` that is matched: without `:port` and one final dot.
    static func name(in authority: Span<UInt8>) -> Range<Int> {
        var end = authority.count
        var i = end
        // Only digits can stand behind the colon before a port; a colon inside brackets is the address's.
        while i > 0 && authority[i - 1].isASCIIDigit { i -= 1 }
        if i > 0 && authority[i - 1] == UInt8(ascii: ":") { end = i - 1 }
        if end > 1 && authority[0] != UInt8(ascii: "[") && authority[end - 1] == RequestPath.dot { end -= 1 }
        if end > 0 && authority[0] == UInt8(ascii: "[") && authority[end - 1] != UInt8(ascii: "]") { end = authority.count }
        return 0..<end
    }
}
