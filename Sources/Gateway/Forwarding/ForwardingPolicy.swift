// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// Which forwarding fields an upstream gets, and from whom the gateway believes them (RFC 7239, case A18).
///
/// A client can write any header. So fields that say where a request came from are believed, and added to, only if the
/// connection's peer is in a trusted network; from everyone else they are dropped and written anew. Fields are written
/// after the connection-level fields were stripped, so that a client cannot name them in `Connection` and have them removed
/// (traefik CVE-2021-32813).
package struct ForwardingPolicy: Equatable, Sendable {
    package enum Mode: String, CaseIterable, Sendable {
        /// The upstream gets no such field, whoever sent one.
        case off
        /// One value: the client as `identify` found it.
        case replace
        /// A trusted peer's chain is kept and the peer added to it; anyone else's is replaced. For a field of one value the
        /// same as `replace`.
        case append
    }

    /// Which field of a trusted peer says who the client is. Only one, so that two that differ cannot be played off.
    package enum ClientSource: String, CaseIterable, Sendable {
        case xForwardedFor = "x-forwarded-for"
        case forwarded
        case xRealIP = "x-real-ip"
    }

    /// Default: append.
    package var xForwardedFor = Mode.append
    /// `http` or `https`. Default: on.
    package var xForwardedProto = Mode.append
    /// Default: on.
    package var xForwardedHost = Mode.append
    /// The client's address alone. Default: off.
    package var xRealIP = Mode.off
    /// Default: off.
    package var forwarded = Mode.off
    /// Peers whose fields are believed, and addresses that are passed over when the chain is read from its end. Default: none.
    package var trusted: [IPNetwork] = []
    /// Default: X-Forwarded-For.
    package var clientSource = ClientSource.xForwardedFor
    /// Whether fields with `_` in their names are dropped: CGI and WSGI servers cannot tell `X_Forwarded_For` from
    /// `X-Forwarded-For`. Default: yes.
    package var dropsUnderscoreNames = true

    package init() {}

    /// Whether this address's fields are believed.
    package func trusts(_ address: IPAddress) -> Bool {
        for network in trusted where network.contains(address) { return true }
        return false
    }
}

/// Who sent a request, as far as the connection and the fields of trusted peers tell.
package struct ClientIdentity: Equatable, Sendable {
    /// The other end of the connection.
    package var peer: IPAddress
    /// The peer is in a trusted network.
    package var isTrusted: Bool
    /// The client's address: the first one from the end of the chain that is not trusted; the peer's where there is none.
    package var address: IPAddress
    /// Whether the client's own connection was TLS.
    package var isSecure: Bool
    /// Whether this connection is.
    package var isPeerSecure: Bool
    /// The host that the client asked for where a trusted peer says so, in the head's arena; else empty: the authority.
    package var host: Slice
}

extension ForwardingPolicy {
    /// Finds out who the client is; changes nothing. `isSecure` says whether the connection to `peer` is TLS.
    ///
    /// A chain is read from its end. Each address in a trusted network vouches for the one before it; the first that is not
    /// is the client. Reading ends at an element that is malformed or hides its address, so that garbage which a client put
    /// at the front cannot change whose address its requests are counted under.
    package func identify(_ head: RequestHead, peer: IPAddress, isSecure: Bool) -> ClientIdentity {
        var identity = ClientIdentity(
            peer: peer, isTrusted: trusts(peer), address: peer, isSecure: isSecure, isPeerSecure: isSecure, host: .empty)
        guard identity.isTrusted else { return identity }
        switch clientSource {
        case .xForwardedFor:
            walk(.xForwardedFor, in: head.fields, &identity)
            takeProtoAndHost(head.fields, &identity)
        case .xRealIP:
            if let address = single(.xRealIP, in: head.fields, { IPAddress.parse($0) }) { identity.address = address }
            takeProtoAndHost(head.fields, &identity)
        case .forwarded:
            walk(.forwarded, in: head.fields, &identity)
        }
        return identity
    }

    private func walk(_ name: FieldName, in fields: borrowing FieldSection, _ identity: inout ClientIdentity) {
        let list = FieldList(name, in: fields)
        for i in 0..<list.count {
            let slice = list.fromEnd(i)
            guard let element = fields.withBytes(slice, { ForwardingPolicy.element($0, of: name) }) else { return }
            if name == .forwarded {
                // The element says what its writer saw of the hop before it, whoever that was.
                identity.isSecure = element.isSecure ?? identity.isSecure
                if let host = element.host {
                    identity.host = Slice(offset: slice.range.lowerBound + host.lowerBound, length: host.count)
                }
            }
            guard let address = element.address else { return }
            identity.address = address
            if !trusts(address) { return }
        }
    }

    /// An element of either chain; nil if it is malformed.
    static func element(_ text: Span<UInt8>, of name: FieldName) -> ForwardedElement? {
        if name == .forwarded { return ForwardedElement.parse(text) }
        return IPAddress.parseNode(text).map { ForwardedElement(address: $0) }
    }

    /// Fields of one value; a list or several lines are nothing that one can rely on.
    private func takeProtoAndHost(_ fields: borrowing FieldSection, _ identity: inout ClientIdentity) {
        let isSecure = single(.xForwardedProto, in: fields) {
            $0.equalsIgnoringCase("https") ? true : $0.equalsIgnoringCase("http") ? false : nil
        }
        identity.isSecure = isSecure ?? identity.isSecure
        if let position = fields.first(.xForwardedHost),
            single(.xForwardedHost, in: fields, { $0.isForwardableHost ? true : nil }) != nil
        {
            identity.host = fields.entries[position].value
        }
    }

    private func single<Value>(
        _ name: FieldName, in fields: borrowing FieldSection, _ parse: (Span<UInt8>) -> Value?
    ) -> Value? {
        guard let position = fields.first(name), fields.first(name, from: position + 1) == nil else { return nil }
        return fields.withValue(position) { parse($0) }
    }
}
