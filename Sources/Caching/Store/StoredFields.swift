// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// Which fields of an answer are stored, and how a validation changes them (RFC 9111 §3.1, §3.2, §4.3.4).
enum StoredFields {
    /// The fields to store of a head, whose connection-level ones are gone already.
    static func of(_ head: ResponseHead, unix: Int64) -> FieldSection {
        var out = FieldSection()
        var hasDate = false
        head.fields.forEachLive { i in
            if head.fields.entries[i].known == .date { hasDate = true }
            if isStored(head.fields, i) { out.copy(i, of: head.fields) }
        }
        // RFC 9110 §6.6.1: who stores an answer without a Date notes when it came.
        if !hasDate { out.append(.date) { HTTPDate.write(seconds: unix, into: &$0) } }
        return out
    }

    /// The fields of a stored answer after a 304, or the answer to a HEAD, has said what they are now.
    static func freshened(_ stored: borrowing FieldSection, by head: ResponseHead, unix: Int64) -> FieldSection {
        let fresh = of(head, unix: unix)
        var out = FieldSection()
        stored.forEachLive { i in
            if !isReplaced(stored, i, by: fresh) { out.copy(i, of: stored) }
        }
        fresh.forEachLive { i in
            if !describesBody(fresh, i) { out.copy(i, of: fresh) }
        }
        return out
    }

    private static func isReplaced(_ stored: borrowing FieldSection, _ i: Int, by fresh: borrowing FieldSection) -> Bool {
        let name = [UInt8](copying: stored.arena.readable.extracting(stored.entries[i].name.range))
        guard let k = fresh.first(named: name.span) else { return false }
        return !describesBody(fresh, k)
    }

    /// Fields of the message's own way and time, of this exchange alone, and those of one client.
    private static func isStored(_ fields: borrowing FieldSection, _ i: Int) -> Bool {
        switch fields.entries[i].known {
        case .age, .contentLength, .setCookie, .connection, .transferEncoding, .keepAlive, .proxyConnection, .te, .trailer,
            .upgrade,
            .xRequestID, .xHoldfastReason, .xHoldfastExplain, .traceparent:
            false
        case .other:
            !fields.withBytes(fields.entries[i].name) { name in
                name.equals("proxy-authenticate") || name.equals("proxy-authentication-info") || name.equals("set-cookie2")
                    || name.equals("content-range")
            }
        default: true
        }
    }

    /// They belong to the stored bytes, whatever a later answer without bytes says (§3.2).
    private static func describesBody(_ fields: borrowing FieldSection, _ i: Int) -> Bool {
        switch fields.entries[i].known {
        case .contentEncoding, .contentType: true
        default: false
        }
    }
}
