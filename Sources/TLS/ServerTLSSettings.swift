// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The protocol versions that exist for us (RFC 8996 retired the older ones).
package enum TLSVersion: String, Sendable, Equatable, CaseIterable, Comparable {
    case tls12 = "1.2"
    case tls13 = "1.3"

    package static func < (left: TLSVersion, right: TLSVersion) -> Bool { left == .tls12 && right == .tls13 }
}

/// Where PEM text comes from.
package enum PEMSource: Sendable, Equatable {
    case file(String)
    /// Held in memory; `name` stands for the file in messages.
    case bytes([UInt8], name: String)

    package static func text(_ pem: String, name: String = "PEM in memory") -> PEMSource { .bytes(Array(pem.utf8), name: name) }

    package var name: String {
        switch self {
        case .file(let path): path
        case .bytes(_, let name): name
        }
    }
}

/// A certificate chain, leaf first, and its private key.
package struct CertificateSource: Sendable, Equatable {
    package var chain: PEMSource
    package var key: PEMSource

    package init(chain: PEMSource, key: PEMSource) {
        self.chain = chain
        self.key = key
    }
}

/// How a listener speaks TLS.
package struct ServerTLSSettings: Sendable, Equatable {
    package enum UnknownServerName: Sendable, Equatable {
        /// Serve the default certificate.
        case useDefault
        /// Refuse with unrecognized_name (RFC 6066 §3).
        case refuse
    }

    /// Served by the names in them (SNI); the first is the default. At least one.
    package var certificates: [CertificateSource]
    /// Oldest and newest version spoken. Default 1.2 to 1.3.
    package var minimumVersion = TLSVersion.tls12
    package var maximumVersion = TLSVersion.tls13
    /// Suites of TLS 1.2, best first; only forward-secret AEAD ones are possible. AES-128 comes first: it is not weaker in
    /// any way that matters here, and a tenth faster.
    package var cipherSuites12 = CipherSuites.default12
    /// Suites of TLS 1.3, best first.
    package var cipherSuites13 = CipherSuites.default13
    /// Key exchange groups, best first.
    package var groups = CipherSuites.defaultGroups
    /// Protocols that may be negotiated by ALPN, best first. A client that offers ALPN and none of these is refused
    /// (RFC 7301 §3.2); an empty list turns ALPN off.
    package var applicationProtocols = ["h2", "http/1.1"]
    /// Shared by all contexts and reactors between which sessions should be resumed; nil: no tickets.
    package var ticketKeys: TicketKeys?
    /// How long a session may be resumed. Default and maximum: a day.
    package var sessionLifetime: Duration = .seconds(86_400)
    /// A session is only resumed under the scope (and the certificate names and client policy) it was made under.
    package var sessionScope = "holdfast"
    package var unknownServerName = UnknownServerName.useDefault
    /// Who may sign clients' certificates; nil: none is asked for.
    package var clientAuthorities: PEMSource?
    /// Whether a client without a certificate is refused, if `clientAuthorities` is set.
    package var requiresClientCertificate = true

    package init(certificates: [CertificateSource]) { self.certificates = certificates }
}
