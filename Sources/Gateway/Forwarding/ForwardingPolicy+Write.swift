// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

extension ForwardingPolicy {
    /// Makes the head's forwarding fields what an upstream may rely on. Call once, after the connection-level fields were
    /// stripped and before anything of the gateway's own is added.
    package func write(to head: RequestHead, for identity: ClientIdentity) {
        dropForgeries(from: head, isTrusted: identity.isTrusted)
        writeChain(.xForwardedFor, xForwardedFor, head, identity)
        writeChain(.forwarded, forwarded, head, identity)

        head.fields.removeAll(.xForwardedProto)
        if xForwardedProto != .off { head.fields.append(.xForwardedProto, identity.isSecure ? "https" : "http") }
        head.fields.removeAll(.xForwardedHost)
        let host = identity.host.isEmpty ? head.authority : identity.host
        if xForwardedHost != .off && !host.isEmpty {
            head.fields.append(.xForwardedHost) { $0.append(copying: host) }
        }
        head.fields.removeAll(.xRealIP)
        if xRealIP != .off { head.fields.append(.xRealIP) { identity.address.write(into: &$0) } }
    }

    private func writeChain(_ name: FieldName, _ mode: Mode, _ head: RequestHead, _ identity: ClientIdentity) {
        if mode == .off || mode == .replace || !identity.isTrusted || !head.fields.contains(name) {
            head.fields.removeAll(name)
            if mode == .off { return }
            // Nobody else's word is in it: about this connection, or in `replace` about the client as it was found.
            let replaces = mode == .replace
            head.fields.append(name) { out in
                ForwardingPolicy.writeElement(
                    of: name, replaces ? identity.address : identity.peer,
                    isSecure: replaces ? identity.isSecure : identity.isPeerSecure,
                    host: replaces && !identity.host.isEmpty ? identity.host : head.authority, to: &out)
            }
            return
        }
        let list = FieldList(name, in: head.fields)
        // What is malformed is dropped, and what stands before it, which nobody vouches for.
        var sound = 0
        while sound < list.count {
            let isSound = head.withBytes(list.fromEnd(sound)) { ForwardingPolicy.element($0, of: name) != nil }
            if !isSound { break }
            sound += 1
        }
        head.fields.removeAll(name)
        head.fields.append(name) { out in
            for i in (0..<sound).reversed() {
                out.append(copying: list.fromEnd(i))
                out.append(", ")
            }
            ForwardingPolicy.writeElement(
                of: name, identity.peer, isSecure: identity.isPeerSecure, host: head.authority, to: &out)
        }
    }

    /// Writes one element of a chain; `host` is in the same buffer, or empty.
    private static func writeElement(
        of name: FieldName, _ address: IPAddress, isSecure: Bool, host: Slice, to out: inout ByteBuffer
    ) {
        if name == .xForwardedFor {
            address.write(into: &out)
            return
        }
        // A colon or a bracket makes a quoted string necessary (RFC 7239 §4, §6).
        out.append(address.isIPv4 ? "for=" : "for=\"[")
        address.write(into: &out)
        if !address.isIPv4 { out.append("]\"") }
        if !host.isEmpty {
            out.append(";host=")
            out.appendTokenOrQuoted(copying: host)
        }
        out.append(isSecure ? ";proto=https" : ";proto=http")
    }

    // MARK: What is dropped

    private func dropForgeries(from head: RequestHead, isTrusted: Bool) {
        for i in head.fields.entries.indices {
            let entry = head.fields.entries[i]
            // The names that are known by heart have no underscore and are dealt with one by one.
            if entry.isRemoved || entry.known != .other { continue }
            let drops = head.withBytes(entry.name) { name in
                (dropsUnderscoreNames && name.contains(UInt8(ascii: "_"))) || (!isTrusted && name.isForgeable)
            }
            if drops { head.fields.remove(at: i) }
        }
    }
}

extension Span<UInt8> {
    /// Names that applications and frameworks read as set by a proxy in front of them, among them those that replace the
    /// path that was routed (`X-Original-URL`, `X-Rewrite-URL`). In lower case.
    fileprivate var isForgeable: Bool {
        if count < 9 { return false }
        if self[0] == UInt8(ascii: "x") && self[1] == UInt8(ascii: "-") {
            return (count > 12 && extracting(0..<12).equals("x-forwarded-"))
                || equals("x-original-url") || equals("x-rewrite-url") || equals("x-original-host") || equals("x-client-ip")
                || equals("x-cluster-client-ip") || equals("x-forwarded")
        }
        return equals("true-client-ip") || equals("front-end-https")
    }
}

extension ByteBuffer {
    /// Appends bytes of this buffer as a token if they are one, else as a quoted string (RFC 9110 §5.6.4).
    fileprivate mutating func appendTokenOrQuoted(copying slice: Slice) {
        var isToken = true
        for i in slice.range where !readable[i].isTokenCharacter { isToken = false }
        if isToken {
            append(copying: slice)
            return
        }
        append(UInt8(ascii: "\""))
        for i in slice.range {
            let byte = readable[i]
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { append(UInt8(ascii: "\\")) }
            append(byte)
        }
        append(UInt8(ascii: "\""))
    }
}
