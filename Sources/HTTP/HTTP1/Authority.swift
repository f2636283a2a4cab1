// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// host[:port] as Host, an absolute target or `:authority` carry it (RFC 9110 §4.2, §7.2; RFC 3986 §3.2).
struct Authority {
    /// The host's bytes, brackets of an IP literal included.
    var host: Range<Int>
    /// 1 … 65535, where one was given.
    var port: UInt16?

    /// Takes an authority apart; `nil` if it is empty or not one. User information (§4.2.4 of RFC 9110), percent-encoding,
    /// an empty port and port 0 are refused.
    static func read(_ bytes: Span<UInt8>) -> Authority? {
        let n = bytes.count
        if n == 0 { return nil }
        var i = 0
        if bytes[0] == 91 {
            // An IPv6 address: hexadecimal digits, colons, perhaps an IPv4 tail. No zone, no future version.
            i = 1
            var colons = 0
            while i < n, bytes[i] != 93 {
                if bytes[i] == 58 {
                    colons += 1
                } else if bytes[i].hexadecimalValue == nil && bytes[i] != 46 {
                    return nil
                }
                i += 1
            }
            if i == n || colons < 2 { return nil }
            i += 1
        } else {
            i = bytes.endOfHostName(from: 0)
            if i == 0 { return nil }
        }
        let host = 0..<i
        if i == n { return Authority(host: host, port: nil) }
        guard bytes[i] == 58, i + 1 < n, n - i <= 6 else { return nil }
        var port: UInt32 = 0
        for k in (i + 1)..<n {
            guard bytes[k].isDigit else { return nil }
            port = port * 10 + UInt32(bytes[k] - 48)
        }
        guard port > 0, let short = UInt16(exactly: port) else { return nil }
        return Authority(host: host, port: short)
    }

    /// Whether two authorities name the same host and port under a scheme, whose default port may be left out.
    static func areEqual(_ left: Span<UInt8>, _ right: Span<UInt8>, isHTTPS: Bool) -> Bool {
        guard let a = read(left), let b = read(right) else { return false }
        let standard: UInt16 = isHTTPS ? 443 : 80
        guard (a.port ?? standard) == (b.port ?? standard), a.host.count == b.host.count else { return false }
        for i in a.host where left[i].asciiLowercased != right[i].asciiLowercased { return false }
        return true
    }
}
