// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

extension Configuration.Listener {
    static var kind: Kind<Self> { table.kind(Self(name: "", address: .unix("/"))) }

    static var table: Table<Self> {
        Table(
            name: "Listener", documentation: "An address on which clients are served.",
            fields: [
                Field(
                    "name", \.name,
                    Kind.name.checked { name, node, reader in reader.claim("listener name", name, at: node.position) },
                    required: true,
                    "Its label in logs and metrics."),
                Field(
                    "address", \.address,
                    Kind.listening.checked { address, node, reader in
                        if case .ip(_, port: 0) = address { return }
                        reader.claim("listener address", address, at: node.position)
                    }, required: true,
                    "Where it listens: one socket a reactor, so that the kernel spreads the connections. A Unix socket is served by one reactor."
                ),
                Field(
                    "tls", \.tls, Configuration.ListenerTLS.table.kind(Configuration.ListenerTLS()).optional(none: "none"),
                    "How it speaks TLS. Without it: HTTP/1.1, and HTTP/2 with prior knowledge, in clear."),
                Field("http2", \.http2, Configuration.HTTP2.table.kind(Configuration.HTTP2()), "What HTTP/2 clients are told."),
                Field(
                    "forwarded", \.forwarded, Configuration.Forwarded.table.kind(Configuration.Forwarded()),
                    "Which fields tell upstreams about the client."),
                Field(
                    "filters", \.filters, Configuration.Filter.listKind,
                    "What is done with all requests that come here, together with the filters of their routes."),
                .group("limits", limits, "Limits of this listener alone."),
            ],
            check: { listener, node, reader in
                Configuration.Filter.check(listener.filters, parameters: [], at: node.position(of: [.key("filters")]), &reader)
                for filter in listener.filters where ["canary", "aggregate"].contains(filter.kind) {
                    reader.complain(
                        at: node.position(of: [.key("filters")]), "\(filter.kind) is a filter of routes, not of listeners")
                }
            })
    }
}

extension Configuration.Certificate {
    static var kind: Kind<Self> {
        Table<Self>(
            name: "Certificate", documentation: "A certificate chain and its private key.",
            fields: [
                Field("chain", \.chain, .readableFile, required: true, "PEM: the certificate first, then its issuers."),
                Field(
                    "key", \.key, .secret, required: true,
                    "PEM, not encrypted: a path, `{ file: … }`, or `{ env: … }` for a variable that holds the key itself."),
            ]
        ).kind(Self(chain: "", key: Secret(.file(""))))
    }
}

extension Kind where Value == Secret {
    /// A path, or where the secret is to be found.
    static var secret: Kind {
        let file = Kind<String>.readableFile.map({ Secret(.file($0)) }, back: { _ in nil })
        return file.or(mapping: reference)
    }

    private struct Draft {
        var file: String?
        var environment: String?
    }

    private static var reference: Kind {
        Table<Draft>(
            name: "Secret",
            documentation:
                "Where a secret is to be found. The secret itself is never written into a configuration, and never shown.",
            fields: [
                Field("file", \.file, Kind<String>.readableFile.optional(none: nil), "A file that holds it."),
                Field(
                    "env", \.environment,
                    Kind<String>.text(
                        pattern: "^[A-Za-z_][A-Za-z0-9_]*$", meaning: "name of an environment variable",
                        expected: "the name of an environment variable",
                        problem: { $0.isEmpty || $0.contains("=") || $0.contains("\0") ? "is no such name" : nil }
                    ).checked { name, node, reader in
                        if !reader.surroundings.hasVariable(name) {
                            reader.complain(at: node.position, "the environment variable \(quoted(name)) is not set")
                        }
                    }.optional(none: nil), "An environment variable that holds it."),
            ], exactlyOne: ["file", "env"]
        ).kind(Draft()).map(
            { draft in Secret(draft.environment.map { .environment($0) } ?? .file(draft.file ?? "")) }, back: { _ in nil })
    }
}

extension Configuration.ListenerTLS {
    static var table: Table<Self> {
        Table(
            name: "Listener TLS",
            documentation: "How a listener speaks TLS. There is no renegotiation, no compression and no 0-RTT.",
            fields: [
                Field(
                    "certificates", \.certificates, Configuration.Certificate.kind.list(atLeast: 1), required: true,
                    "Chosen by the name that the client asks for; the first is for clients that ask for none. ECDSA and RSA may stand side by side."
                ),
                Field(
                    "unknown_server_name", \.unknownServerName, .choice,
                    "What a client gets that asks for a name no certificate has."),
                Field("protocols", \.protocols, Kind.choice.list(atLeast: 1), "Offered by ALPN, preferred first."),
                Field("min_version", \.minimumVersion, .choice, "Oldest version of TLS."),
                Field("max_version", \.maximumVersion, .choice, "Newest version of TLS."),
                Field(
                    "ciphers", \.ciphers, Kind.libraryName.list(), initial: "ECDHE with AES-GCM or ChaCha20",
                    "OpenSSL's names of the suites for TLS 1.2, preferred first."),
                Field(
                    "ciphersuites", \.ciphersuites, Kind.libraryName.list(), initial: "the library's",
                    "OpenSSL's names of the suites for TLS 1.3, preferred first."),
                Field(
                    "curves", \.curves, Kind.libraryName.list(), initial: "X25519, P-256",
                    "The groups for key exchange, preferred first: X25519, P-256, P-384, P-521, X448."),
                Field(
                    "ticket_rotation", \.ticketRotation, Kind.duration(.seconds(60) ... .seconds(7 * 86_400)).orOff(),
                    "Age at which a new key for session tickets is made; the one before it still opens them. The listeners share their keys, so that the shortest age counts; it is looked at once a minute. `off`: no tickets."
                ),
                Field(
                    "client_ca", \.clientCA, Kind<String>.readableFile.optional(none: "none"),
                    "PEM: the authorities that clients' certificates must be signed by."),
                Field(
                    "client_certificates", \.clientCertificates, .choice,
                    "Whether clients are asked for a certificate: `required` ends the handshake of one that has none, `optional` leaves that to the filter `client_certificate`. One that `client_ca` did not sign never gets through."
                ),
                Field(
                    "handshake_timeout", \.handshakeTimeout, .duration(.milliseconds(100) ... .seconds(60)),
                    "From the accepted connection to the finished handshake."),
            ],
            check: { tls, node, reader in
                if tls.minimumVersion > tls.maximumVersion {
                    reader.complain(
                        at: node.position(of: [.key("min_version")]),
                        "min_version \(tls.minimumVersion.rawValue) is above max_version \(tls.maximumVersion.rawValue)")
                }
                if tls.clientCertificates != .off, tls.clientCA == nil {
                    reader.complain(
                        at: node.position(of: [.key("client_certificates")]),
                        "client_certificates: \(tls.clientCertificates.rawValue) needs client_ca, by which they are verified")
                }
                if tls.clientCertificates == .off, tls.clientCA != nil {
                    reader.complain(
                        at: node.position(of: [.key("client_ca")]),
                        "client_ca does nothing without client_certificates: optional or required")
                }
            })
    }
}

extension Kind where Value == String {
    /// A name of OpenSSL's; whether it knows it is its own to say.
    fileprivate static var libraryName: Kind {
        .text(
            pattern: "^[A-Za-z0-9_-]+$", meaning: "name", expected: "one name such as X25519 or ECDHE-RSA-AES128-GCM-SHA256",
            problem: { text in
                text.utf8.allSatisfy { Words.isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
                    && !text.isEmpty
                    ? nil : "is no name"
            })
    }
}

extension Configuration.HTTP2 {
    static var table: Table<Self> {
        Table(
            name: "HTTP/2", documentation: "What a listener tells HTTP/2 clients (RFC 9113 §6.5.2).",
            fields: [
                Field(
                    "max_concurrent_streams", \.maximumConcurrentStreams, .integer(1...10_000),
                    "Requests of one connection at once."),
                Field(
                    "stream_window", \.streamWindowBytes, .size(65_536...16_777_216),
                    "Bytes of one request body in flight: what an exchange may hold in memory."),
                Field(
                    "connection_window", \.connectionWindowBytes, .size(65_536...1_073_741_824),
                    "Bytes of all request bodies of a connection in flight."),
                Field("max_frame_size", \.maximumFrameBytes, .size(16_384...1_048_576), "Longest frame that is accepted."),
                Field(
                    "header_table_size", \.headerTableBytes, .size(0...65_536),
                    "The table of header compression, in each direction."),
            ])
    }
}

extension Configuration.Forwarded {
    static var table: Table<Self> {
        Table(
            name: "Forwarded",
            documentation:
                "Which fields tell upstreams about the client. `append` keeps what a peer in `trusted_networks` sent and builds on it, and replaces what any other sent; `replace` always replaces it; `off` removes the field.",
            fields: [
                Field("x_forwarded_for", \.xForwardedFor, .choice, "The client's address."),
                Field("x_forwarded_proto", \.xForwardedProto, .choice, "`http` or `https`, as the client spoke."),
                Field("x_forwarded_host", \.xForwardedHost, .choice, "The host that the client asked for."),
                Field("forwarded", \.forwarded, .choice, "The standard's own field for all of these (RFC 7239)."),
            ])
    }
}

extension Configuration.Listener {
    /// Fields of the listener itself, one level down in the file.
    private static var limits: Table<Self> {
        Table(
            name: "Listener limits", documentation: "Limits of one listener, beside those for all.",
            fields: [Field("connections", \.connections, Kind.integer(1...10_000_000).orOff(), "Client connections at once.")])
    }
}
