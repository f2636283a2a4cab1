// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// One element of a `Forwarded` field (RFC 7239 §4), as far as the gateway uses it.
struct ForwardedElement {
    /// Absent too where the sender hides it (`unknown`, `_name`).
    var address: IPAddress?
    /// Whether `proto` is https; nil if it is absent or neither http nor https.
    var isSecure: Bool?
    /// Value of `host`, where in the element it stands; not unescaped, so only one without a backslash.
    var host: Range<Int>?

    /// Nil if the element is malformed: not name=value pairs with `;` between, or a name twice.
    static func parse(_ text: Span<UInt8>) -> ForwardedElement? {
        var element = ForwardedElement()
        var seen: UInt8 = 0
        var i = 0
        while true {
            while i < text.count && text[i].isFieldSpace { i += 1 }
            let nameStart = i
            while i < text.count && text[i].isTokenCharacter { i += 1 }
            let name = text.extracting(nameStart..<i)
            guard !name.isEmpty, i < text.count, text[i] == UInt8(ascii: "=") else { return nil }
            i += 1
            guard let value = parseValue(text, at: &i) else { return nil }
            var bit: UInt8 = 0
            let bytes = text.extracting(value)
            if name.equalsIgnoringCase("for") {
                bit = 1
                guard element.takeNode(bytes) else { return nil }
            } else if name.equalsIgnoringCase("by") {
                bit = 2
            } else if name.equalsIgnoringCase("proto") {
                bit = 4
                element.isSecure = bytes.equalsIgnoringCase("https") ? true : bytes.equalsIgnoringCase("http") ? false : nil
            } else if name.equalsIgnoringCase("host") {
                bit = 8
                if bytes.isForwardableHost { element.host = value }
            }
            if seen & bit != 0 { return nil }
            seen |= bit
            while i < text.count && text[i].isFieldSpace { i += 1 }
            if i == text.count { return element }
            if text[i] != UInt8(ascii: ";") { return nil }
            i += 1
        }
    }

    /// A token, or what stands between the quotes of a quoted string.
    private static func parseValue(_ text: Span<UInt8>, at i: inout Int) -> Range<Int>? {
        if i < text.count && text[i] == UInt8(ascii: "\"") {
            i += 1
            let start = i
            while i < text.count && text[i] != UInt8(ascii: "\"") {
                i += text[i] == UInt8(ascii: "\\") ? 2 : 1
            }
            if i >= text.count { return nil }
            i += 1
            return start..<(i - 1)
        }
        let start = i
        // Many senders do not quote a host with its port or an IPv4 address with one.
        while i < text.count && (text[i].isTokenCharacter || text[i] == UInt8(ascii: ":")) { i += 1 }
        return i > start ? start..<i : nil
    }

    /// node = nodename [ ":" node-port ] (§6). False if it is none.
    private mutating func takeNode(_ node: Span<UInt8>) -> Bool {
        if node.isEmpty { return false }
        if node[0] == UInt8(ascii: "_") || node.equalsIgnoringCase("unknown") { return true }
        address = IPAddress.parseNode(node)
        return address != nil
    }
}

extension IPAddress {
    /// An address that may be in brackets and may have a port behind it, as forwarding fields carry them.
    static func parseNode(_ node: Span<UInt8>) -> IPAddress? {
        let n = node.count
        if n == 0 { return nil }
        if node[0] == UInt8(ascii: "[") {
            var close = 1
            while close < n && node[close] != UInt8(ascii: "]") { close += 1 }
            guard close < n, close + 1 == n || isPort(node.extracting((close + 1)..<n)) else { return nil }
            let inner = node.extracting(1..<close)
            // Brackets are for IPv6 only.
            guard inner.contains(UInt8(ascii: ":")) else { return nil }
            return parse(inner)
        }
        if let address = parse(node) { return address }
        var colon = n
        for i in node.indices where node[i] == UInt8(ascii: ":") {
            if colon < n { return nil }
            colon = i
        }
        guard colon < n, isPort(node.extracting(colon..<n)) else { return nil }
        return parse(node.extracting(0..<colon))
    }

    /// `:` and one to five digits, or an obfuscated port (RFC 7239 §6.3).
    private static func isPort(_ text: Span<UInt8>) -> Bool {
        guard text.count >= 2, text[0] == UInt8(ascii: ":") else { return false }
        if text[1] == UInt8(ascii: "_") { return true }
        if text.count > 6 { return false }
        for i in 1..<text.count where !text[i].isASCIIDigit { return false }
        return true
    }
}

extension Span<UInt8> {
    func contains(_ byte: UInt8) -> Bool {
        for i in indices where self[i] == byte { return true }
        return false
    }

    /// Whether these bytes can stand as a host with or without a port: not empty, not too long, no odd character.
    var isForwardableHost: Bool {
        if isEmpty || count > HostPattern.maximumLength { return false }
        for i in indices where !self[i].isPlainInAuthority || self[i] == UInt8(ascii: ",") || self[i] == UInt8(ascii: ";") {
            return false
        }
        return true
    }
}
