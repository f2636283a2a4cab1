// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import HTTP

/// What an answer is stored under (RFC 9111 §2; case E17): scheme, host, port, path and query of the target URI, as
/// `https://host:443/path?query`.
///
/// Scheme and host are in lower case and the port is always there, so that the spellings of one authority are one key, and two authorities
/// never are. The query is taken as it stands: the order of parameters may mean something. Of the methods only GET is ever stored, so it
/// needs no place here. The path is the one spelling that `RequestPath` made of it.
package struct CacheKey: Hashable, Sendable {
    package let bytes: [UInt8]
    /// The same in every process, for the choice of a shard; tables hash the bytes with the process's own seed.
    let stableHash: UInt64

    init(bytes: [UInt8]) {
        self.bytes = bytes
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        hash = (hash ^ (hash >> 32)) &* 0x9E37_79B9_7F4A_7C15
        stableHash = hash ^ (hash >> 29)
    }

    package static func == (a: CacheKey, b: CacheKey) -> Bool { a.stableHash == b.stableHash && a.bytes == b.bytes }
    package func hash(into hasher: inout Hasher) { hasher.combine(stableHash) }

    /// The key of a request's target.
    package init(_ head: RequestHead, isSecure: Bool, ignoring ignored: [[UInt8]] = []) {
        var out: [UInt8] = []
        out.reserveCapacity(32 + Int(head.authority.length) + Int(head.path.length) + Int(head.query.length))
        head.withBytes(head.authority) { CacheKey.appendOrigin($0, isSecure: isSecure, to: &out) }
        head.withBytes(head.path) { for i in 0..<$0.count { out.append($0[i]) } }
        if head.hasQuery {
            head.withBytes(head.query) { CacheKey.appendQuery($0, ignoring: ignored, to: &out) }
        }
        self.init(bytes: out)
    }

    /// The key of a URI: absolute, or relative to this key's (RFC 3986 §4.2; a path that is not absolute is resolved against this
    /// key's directory, dot segments excepted). Nil for what is no HTTP URI. A fragment is left out.
    package func resolving(_ reference: Span<UInt8>, ignoring ignored: [[UInt8]] = []) -> CacheKey? {
        var end = 0
        while end < reference.count, reference[end] != 35 { end += 1 }
        let text = reference.extracting(0..<end)
        if text.isEmpty { return nil }
        var out: [UInt8] = []
        var rest = 0
        if let (isSecure, start) = CacheKey.scheme(of: text) {
            rest = start
            while rest < text.count, text[rest] != 47, text[rest] != 63 { rest += 1 }
            if rest == start { return nil }
            CacheKey.appendOrigin(text.extracting(start..<rest), isSecure: isSecure, to: &out)
        } else if text[0] == 47 {
            if text.count > 1, text[1] == 47 { return nil }
            out.append(contentsOf: bytes.prefix(originLength))
        } else {
            for byte in 0..<text.count where text[byte] == 58 { return nil }  // another scheme, perhaps
            let path = bytes[originLength...].prefix { $0 != 63 }
            guard let slash = path.lastIndex(of: 47) else { return nil }
            out.append(contentsOf: bytes[...slash])
        }
        var query = rest
        while query < text.count, text[query] != 63 { query += 1 }
        if rest == query, rest > 0 { out.append(47) }
        for i in rest..<query { out.append(text[i]) }
        if query < text.count { CacheKey.appendQuery(text.extracting((query + 1)..<text.count), ignoring: ignored, to: &out) }
        return CacheKey(bytes: out)
    }

    /// The key of an absolute URI in an operator's words; nil if it is none.
    package init?(uri: String) {
        let bytes = Array(uri.utf8)
        guard CacheKey.scheme(of: bytes.span) != nil, let key = CacheKey(bytes: [47]).resolving(bytes.span) else { return nil }
        self = key
    }

    /// Whether both are of one scheme, host and port.
    package func hasSameOrigin(as other: CacheKey) -> Bool {
        bytes.prefix(originLength).elementsEqual(other.bytes.prefix(other.originLength))
    }

    /// Bytes of `https://host:443`.
    private var originLength: Int {
        var slashes = 0
        for i in bytes.indices where bytes[i] == 47 {
            slashes += 1
            if slashes == 3 { return i }
        }
        return bytes.count
    }

    private static func scheme(of text: Span<UInt8>) -> (isSecure: Bool, rest: Int)? {
        if text.count > 8, text.extracting(0..<8).equalsIgnoringCase("https://") { return (true, 8) }
        if text.count > 7, text.extracting(0..<7).equalsIgnoringCase("http://") { return (false, 7) }
        return nil
    }

    private static func appendOrigin(_ authority: Span<UInt8>, isSecure: Bool, to out: inout [UInt8]) {
        out.append(contentsOf: isSecure ? Array("https://".utf8) : Array("http://".utf8))
        var end = authority.count
        var port = isSecure ? 443 : 80
        // A colon behind the closing bracket of an address, or behind a name.
        var i = authority.count - 1
        while i >= 0, authority[i].isDigit { i -= 1 }
        if i >= 0, authority[i] == 58 {
            end = i
            var value = 0
            for k in (i + 1)..<authority.count { value = min(value * 10 + Int(authority[k] - 48), 65_536) }
            if i + 1 < authority.count { port = value }
        }
        for k in 0..<end { out.append(authority[k].asciiLowercased) }
        out.append(58)
        out.append(contentsOf: Array(String(port).utf8))
    }

    private static func appendQuery(_ query: Span<UInt8>, ignoring ignored: [[UInt8]], to out: inout [UInt8]) {
        if ignored.isEmpty {
            out.append(63)
            for i in 0..<query.count { out.append(query[i]) }
            return
        }
        var separator: UInt8 = 63
        var start = 0
        for end in 0...query.count where end == query.count || query[end] == 38 {
            let parameter = query.extracting(start..<end)
            start = end + 1
            if isIgnored(parameter, ignored) { continue }
            out.append(separator)
            separator = 38
            for i in 0..<parameter.count { out.append(parameter[i]) }
        }
    }

    private static func isIgnored(_ parameter: Span<UInt8>, _ ignored: [[UInt8]]) -> Bool {
        var length = 0
        while length < parameter.count, parameter[length] != 61 { length += 1 }
        let name = parameter.extracting(0..<length)
        for pattern in ignored {
            if pattern.last == 42 {
                let stem = pattern.count - 1
                if length >= stem, name.extracting(0..<stem).equals(pattern.span.extracting(0..<stem)) { return true }
            } else if name.equals(pattern.span) {
                return true
            }
        }
        return false
    }
}
