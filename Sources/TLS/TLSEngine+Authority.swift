// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension TLSEngine {
    /// Server: whether a request for `authority` (host, perhaps with a port) may be answered on this connection. False where
    /// another set of certificates, and so perhaps another policy, is that host's: 421 (RFC 9110 §7.4, §15.5.20; case D02).
    /// A host that no certificate names belongs to the default set.
    package func serves(authority: Span<UInt8>) -> Bool {
        guard let context = serverContext, context.setCount > 1 else { return true }
        var host = InlineArray<256, UInt8>(repeating: 0)
        var length = 0
        for i in authority.indices {
            let byte = authority[i]
            if byte == UInt8(ascii: ":") && authority[0] != UInt8(ascii: "[") { break }
            if length == 255 { return false }
            host[length] = byte >= 65 && byte <= 90 ? byte | 0x20 : byte
            length += 1
        }
        let wanted = context.setIndex(for: host.span.extracting(0..<length))
        let served = isServerNameKnown ? serverName.map { context.setIndex(for: $0.utf8.span) } ?? 0 : 0
        return wanted == served
    }
}

extension ServerTLSContext {
    /// Sets of certificates that are told apart by name.
    var setCount: Int { contexts.count }

    /// The set that serves `name` (lower case); the default where none names it.
    func setIndex(for name: Span<UInt8>) -> Int { names.value(for: name) ?? 0 }
}
