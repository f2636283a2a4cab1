// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import TLS
import Testing

/// D09: what a client does not trust, each with the words the log gets.
@Suite struct VerificationTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var served: @Sendable (TestIdentities.Set) -> CertificateAuthority.Issued
        var asked: String
        /// Nil: accepted.
        var detail: String?
        var testDescription: String

        init(
            _ description: String, asked: String = "edge.example", _ detail: String?,
            _ served: @escaping @Sendable (TestIdentities.Set) -> CertificateAuthority.Issued
        ) {
            testDescription = description
            self.asked = asked
            self.detail = detail
            self.served = served
        }
    }

    private func pair(_ row: Row, _ change: (inout ClientTLSSettings) -> Void = { _ in }) throws -> EnginePair {
        let issued = row.served(try TestIdentities.all.get())
        let pair = EnginePair(
            try ServerTLSContext(settings: ServerTLSSettings(certificates: [issued.source])),
            try TestIdentities.clientContext(change), name: row.asked)
        pair.settle()
        return pair
    }

    static let rows = [
        Row("right", nil) { $0.ecdsa },
        Row("right, RSA", nil) { $0.rsa },
        Row("right, by an intermediate", nil) { $0.chained },
        Row("right, by a wildcard", asked: "a.wild.example", nil) { $0.wildcard },
        Row("right, by IPv4 address", asked: "127.0.0.1", nil) { $0.address },
        Row("right, by IPv6 address", asked: "::1", nil) { $0.address },
        Row("expired", "certificate has expired (CN=edge.example)") { $0.expired },
        Row(
            "wrong name", asked: "edge.example",
            "hostname mismatch: wanted edge.example, the certificate is for other.example"
        ) { $0.other },
        Row(
            "a wildcard is one label", asked: "a.b.wild.example",
            "hostname mismatch: wanted a.b.wild.example, the certificate is for *.wild.example"
        ) { $0.wildcard },
        Row(
            "wrong address", asked: "127.0.0.2",
            "IP address mismatch: wanted 127.0.0.2, the certificate is for 127.0.0.1, ::1"
        ) { $0.address },
        Row("unknown authority", "unable to get local issuer certificate (CN=edge.example)") { $0.strange },
        Row("self-signed", "self-signed certificate (CN=edge.example)") { $0.selfSigned },
    ]

    @Test(arguments: rows, [TLSVersion.tls12, .tls13])
    func verifies(row: Row, version: TLSVersion) throws {
        let pair = try pair(row) { $0.maximumVersion = version }
        if let detail = row.detail {
            #expect(pair.clientStatus.failure == TLSFailure(reason: .tlsVerify, detail: detail))
            #expect(!pair.client.isHandshakeComplete)
            // The server is told by an alert.
            #expect(pair.serverStatus.failure?.reason == .clientTLSFailed)
            #expect(pair.serverStatus.failure?.detail.hasPrefix("the peer sent the alert \"") == true)
        } else {
            #expect(pair.isComplete)
            #expect(pair.clientStatus.failure == nil)
        }
    }

    @Test(arguments: rows)
    func verificationCanBeTurnedOff(row: Row) throws {
        let pair = try pair(row) { $0.verifiesPeer = false }
        #expect(pair.isComplete)
        #expect(pair.client.peerCertificate != nil)
    }

    /// The time by which certificates are judged is the caller's.
    @Test func theWallTimeDecides() throws {
        let set = try TestIdentities.all.get()
        func outcome(at time: Int64) throws -> String? {
            let pair = EnginePair(
                try ServerTLSContext(settings: ServerTLSSettings(certificates: [set.expired.source])),
                try TestIdentities.clientContext(wallTime: time))
            pair.settle()
            return pair.clientStatus.failure?.detail
        }
        #expect(try outcome(at: TestIdentities.longAgo + 1000) == nil)
        #expect(try outcome(at: TestIdentities.longAgo - 1000) == "certificate is not yet valid (CN=Holdfast local authority)")
        #expect(try outcome(at: TestIdentities.longAgo + 100_000) == "certificate has expired (CN=edge.example)")
        let context = try TestIdentities.clientContext(wallTime: 5)
        #expect(context.wallTime == 5)
        context.setWallTime(6)
        #expect(context.wallTime == 6)
        #expect(try TestIdentities.clientContext().wallTime == nil)
    }

    // MARK: Client certificates

    private func withClientCertificate(
        _ certificate: CertificateAuthority.Issued?, required: Bool, version: TLSVersion
    ) throws -> EnginePair {
        let root = try TestIdentities.all.get().root
        let pair = EnginePair(
            try TestIdentities.serverContext {
                $0.clientAuthorities = .text(root)
                $0.requiresClientCertificate = required
                $0.maximumVersion = version
            },
            try TestIdentities.clientContext { $0.clientCertificate = certificate?.source })
        pair.settle()
        return pair
    }

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func clientCertificates(version: TLSVersion) throws {
        let set = try TestIdentities.all.get()
        let shown = try withClientCertificate(set.client, required: true, version: version)
        #expect(shown.isComplete)
        #expect(shown.server.hasPeerCertificate)
        #expect(shown.server.peerCertificate?.names == ["client.example"])

        let optional = try withClientCertificate(nil, required: false, version: version)
        #expect(optional.isComplete)
        #expect(!optional.server.hasPeerCertificate)

        let missing = try withClientCertificate(nil, required: true, version: version)
        #expect(missing.serverStatus.failure?.reason == .clientTLSFailed)
        #expect(missing.serverStatus.failure?.detail == "peer did not return a certificate")
        #expect(missing.clientStatus.failure?.reason == .tlsHandshake)
        #expect(
            missing.clientStatus.failure?.detail
                == "the peer sent the alert \"\(version == .tls13 ? "certificate required" : "handshake failure")\"")

        // Once a client shows a certificate it must be a good one, even where none is required.
        let strange = try withClientCertificate(set.strange, required: false, version: version)
        #expect(
            strange.serverStatus.failure
                == TLSFailure(
                    reason: .clientTLSFailed, detail: "client certificate: unable to get local issuer certificate (CN=edge.example)"
                ))
        #expect(strange.clientStatus.failure?.detail == "the peer sent the alert \"unknown CA\"")
    }
}
