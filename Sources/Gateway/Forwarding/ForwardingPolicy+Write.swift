// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

extension ForwardingPolicy {
    /// Makes the head's forwarding fields what an upstream may rely on. Call once, after the connection-level fields were
    /// stripped and before anything of the gateway's own is added.
    package func write(to head: RequestHead, for identity: ClientIdentity) {
        // One access to the head for all of it: each costs a dynamic exclusivity check.
        let authority = head.parts.authority
        write(to: &head.fields, authority: authority, identity)
    }

    private func write(to fields: inout FieldSection, authority: Slice, _ identity: ClientIdentity) {
        dropForgeries(from: &fields, isTrusted: identity.isTrusted)
        writeChain(.xForwardedFor, xForwardedFor, &fields, authority, identity)
        writeChain(.forwarded, forwarded, &fields, authority, identity)

        fields.removeAll(.xForwardedProto)
        if xForwardedProto != .off { fields.append(.xForwardedProto, identity.isSecure ? "https" : "http") }
        fields.removeAll(.xForwardedHost)
        let host = identity.host.length == 0 ? authority : identity.host
        if xForwardedHost != .off && host.length > 0 { fields.append(.xForwardedHost) { $0.append(copying: host) } }
        fields.removeAll(.xRealIP)
        if xRealIP != .off { fields.append(.xRealIP) { identity.address.write(into: &$0) } }
    }

    private func writeChain(
        _ name: FieldName, _ mode: Mode, _ fields: inout FieldSection, _ authority: Slice, _ identity: ClientIdentity
    ) {
        if mode == .off || mode == .replace || !identity.isTrusted || !fields.contains(name) {
            fields.removeAll(name)
            if mode == .off { return }
            // Nobody else's word is in it: about this connection, or in `replace` about the client as it was found.
            let replaces = mode == .replace
            fields.append(name) { out in
                ForwardingPolicy.writeElement(
                    of: name, replaces ? identity.address : identity.peer,
                    isSecure: replaces ? identity.isSecure : identity.isPeerSecure,
                    host: replaces && !identity.host.isEmpty ? identity.host : authority, to: &out)
            }
            return
        }
        let list = FieldList(name, in: fields)
        // What is malformed is dropped, and what stands before it, which nobody vouches for.
        var sound = 0
        while sound < list.count {
            let isSound = fields.withBytes(list.fromEnd(sound)) { ForwardingPolicy.element($0, of: name) != nil }
            if !isSound { break }
            sound += 1
        }
        fields.removeAll(name)
        fields.append(name) { out in
            for i in (0..<sound).reversed() {
                out.append(copying: list.fromEnd(i))
                out.append(", ")
            }
            ForwardingPolicy.writeElement(of: name, identity.peer, isSecure: identity.isPeerSecure, host: authority, to: &out)
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

    private func dropForgeries(from fields: inout FieldSection, isTrusted: Bool) {
        for i in 0..<fields.count {
            let entry = fields.entries[i]
            // The names that are known by heart have no underscore and are dealt with one by one.
            guard case .other = entry.known, !entry.isRemoved else { continue }
            if isForgery(fields.arena.readable.extracting(entry.name.bounds), isTrusted: isTrusted) { fields.remove(at: i) }
        }
    }

    @inline(__always)
    private func isForgery(_ name: Span<UInt8>, isTrusted: Bool) -> Bool {
        (dropsUnderscoreNames && name.contains(UInt8(ascii: "_"))) || (!isTrusted && name.isForgeable)
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
