// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// One address on which clients are served.
    public struct Listener: Equatable, Sendable {
        /// A name of letters, digits, `-`, `_` and `.`, unique among listeners; the label in logs and metrics.
        public var name: String
        /// Unique among listeners. Port 0 lets the kernel choose.
        public var address: Address
        /// `nil`: in clear, HTTP/1.1 and HTTP/2 with prior knowledge (RFC 9113 §3.3).
        public var tls: ListenerTLS?
        public var http2 = HTTP2()
        public var forwarded = Forwarded()
        /// What is done with all requests that come here. Default: nothing.
        public var filters: [Filter] = []
        /// Connections of this listener alone, 1 to 10,000,000. Default: only `limits.connections` holds.
        public var connections: Int?

        public init(name: String, address: Address) {
            self.name = name
            self.address = address
        }
    }

    /// A certificate chain and its private key.
    public struct Certificate: Equatable, Sendable {
        /// A PEM file: the certificate first, then its issuers. Resolved against the configuration's folder.
        public var chain: String
        /// The PEM private key, not encrypted.
        public var key: Secret

        public init(chain: String, key: Secret) {
            self.chain = chain
            self.key = key
        }
    }

    /// Versions of TLS that are spoken; nothing older is (design, section 4).
    public enum TLSVersion: String, CaseIterable, Comparable, Sendable {
        case tls12 = "1.2"
        case tls13 = "1.3"

        public static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }
    }

    /// Protocols offered by ALPN.
    public enum ApplicationProtocol: String, CaseIterable, Sendable {
        case http2 = "h2"
        case http1 = "http/1.1"
    }

    /// The answer to a server name (SNI) that no certificate has.
    public enum UnknownServerName: String, CaseIterable, Sendable {
        /// The first certificate.
        case useDefault = "default"
        /// The alert `unrecognized_name` (RFC 6066 §3).
        case refuse
    }

    /// How a listener speaks TLS.
    public struct ListenerTLS: Equatable, Sendable {
        /// At least one; the first is the one for a client that names no host.
        public var certificates: [Certificate] = []
        /// What a client gets that asks for a name which no certificate has. Default `default`.
        public var unknownServerName = UnknownServerName.useDefault
        /// In the order of preference, at least one. Default `[h2, http/1.1]`.
        public var protocols: [ApplicationProtocol] = [.http2, .http1]
        /// Default 1.2.
        public var minimumVersion = TLSVersion.tls12
        /// At least `minimumVersion`. Default 1.3.
        public var maximumVersion = TLSVersion.tls13
        /// OpenSSL's names of the suites for TLS 1.2, in the order of preference. Empty: the forward-secret AEAD suites.
        public var ciphers: [String] = []
        /// OpenSSL's names of the suites for TLS 1.3, in the order of preference. Empty: all of the library's.
        public var ciphersuites: [String] = []
        /// The groups for key exchange, in the order of preference: X25519, P-256, P-384, P-521, X448. Empty: the first two.
        public var curves: [String] = []
        /// Age at which a new key for session tickets is made, 1 min to 7 d; the one before it still opens tickets.
        /// `nil` is `off`: no tickets. The listeners share their keys, so that the shortest age counts. Default 12 h.
        public var ticketRotation: Duration? = .seconds(12 * 3600)
        /// Who may sign clients' certificates, in PEM. Default: nobody.
        public var clientCA: String?
        /// Whether clients are asked for certificates. Default `off`.
        public var clientCertificates = ClientCertificates.off
        /// From the accepted connection to the finished handshake, 100 ms to 1 min. Default 5 s (semantics, section 4).
        public var handshakeTimeout: Duration = .seconds(5)

        public init() {}
    }

    /// Whether clients are asked for a certificate.
    public enum ClientCertificates: String, CaseIterable, Sendable {
        case off
        /// One that comes must be right; none may come.
        case optional
        case required
    }

    /// What a listener announces to HTTP/2 clients (RFC 9113 §6.5.2).
    public struct HTTP2: Equatable, Sendable {
        /// Streams of one connection at once, 1 to 10,000. Default 128: browsers use about 100.
        public var maximumConcurrentStreams = 128
        /// Octets of one request body in flight, 64 KiB to 16 MiB. Default 256 KiB: what an exchange may hold in memory.
        public var streamWindowBytes = 262_144
        /// Octets of all request bodies of a connection in flight, 64 KiB to 1 GiB. Default 1 MiB.
        public var connectionWindowBytes = 1_048_576
        /// Longest frame accepted, 16 KiB to 1 MiB. Default 16 KiB: one TLS record.
        public var maximumFrameBytes = 16_384
        /// The HPACK table of each direction, 0 B to 64 KiB. Default 4 KiB.
        public var headerTableBytes = 4_096

        public init() {}
    }

    /// Which fields tell an upstream about the client (RFC 7239), and what happens to those that came in.
    public struct Forwarded: Equatable, Sendable {
        public enum Policy: String, CaseIterable, Sendable {
            /// What a trusted peer sent is kept and built on; what any other sent is replaced.
            case append
            /// Always replaced by what this gateway saw itself.
            case replace
            /// Removed, and not sent.
            case off
        }

        /// Default `append`.
        public var xForwardedFor = Policy.append
        /// Default `append`.
        public var xForwardedProto = Policy.append
        /// Default `append`.
        public var xForwardedHost = Policy.append
        /// The standard's field, which few upstreams read. Default `off`.
        public var forwarded = Policy.off

        public init() {}
    }
}
