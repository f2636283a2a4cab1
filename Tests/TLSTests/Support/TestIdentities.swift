// Holdfast
// SPDX-License-Identifier: Apache-2.0

import TLS

/// Certificates for the tests, made once a run.
enum TestIdentities {
    /// 2020-09-13 and 2096-10-02: valid whenever the tests run.
    static let longAgo: Int64 = 1_600_000_000
    static let farAhead: Int64 = 4_000_000_000

    struct Set: Sendable {
        var root: String
        var ecdsa: CertificateAuthority.Issued
        var rsa: CertificateAuthority.Issued
        var wildcard: CertificateAuthority.Issued
        var other: CertificateAuthority.Issued
        var address: CertificateAuthority.Issued
        var expired: CertificateAuthority.Issued
        var selfSigned: CertificateAuthority.Issued
        var chained: CertificateAuthority.Issued
        var client: CertificateAuthority.Issued
        var strangeRoot: String
        var strange: CertificateAuthority.Issued
    }

    static let all: Result<Set, TLSConfigurationError> = Result { () throws(TLSConfigurationError) in
        func request(_ names: [String], _ type: CertificateAuthority.KeyType = .ecdsaP256) -> CertificateAuthority.Request {
            CertificateAuthority.Request(names: names, keyType: type, notBefore: longAgo, notAfter: farAhead)
        }
        let root = try CertificateAuthority(notBefore: longAgo, notAfter: farAhead)
        let strange = try CertificateAuthority(commonName: "Somebody else", notBefore: longAgo, notAfter: farAhead)
        let below = try root.intermediate(notBefore: longAgo, notAfter: farAhead)
        var expired = request(["edge.example"])
        expired.notAfter = longAgo + 86_400
        var selfSigned = request(["edge.example"])
        selfSigned.isSelfSigned = true
        return Set(
            root: root.rootPEM,
            ecdsa: try root.issue(request(["edge.example", "www.edge.example"])),
            rsa: try root.issue(request(["edge.example", "www.edge.example"], .rsa2048)),
            wildcard: try root.issue(request(["*.wild.example"])),
            other: try root.issue(request(["other.example"])),
            address: try root.issue(request(["127.0.0.1", "::1"])),
            expired: try root.issue(expired),
            selfSigned: try root.issue(selfSigned),
            chained: try below.issue(request(["edge.example"])),
            client: try root.issue(request(["client.example"])),
            strangeRoot: strange.rootPEM,
            strange: try strange.issue(request(["edge.example"])))
    }

    static func serverContext(
        _ pick: KeyPath<Set, CertificateAuthority.Issued>..., wallTime: Int64? = nil,
        _ change: (inout ServerTLSSettings) -> Void = { _ in }
    ) throws -> ServerTLSContext {
        let set = try all.get()
        let issued = pick.isEmpty ? [set.ecdsa] : pick.map { set[keyPath: $0] }
        var settings = ServerTLSSettings(certificates: issued.map(\.source))
        change(&settings)
        return try ServerTLSContext(settings: settings, wallTime: wallTime)
    }

    static func clientContext(
        wallTime: Int64? = nil, _ change: (inout ClientTLSSettings) -> Void = { _ in }
    ) throws -> ClientTLSContext {
        var settings = ClientTLSSettings()
        settings.authorities = .text(try all.get().root)
        settings.applicationProtocols = ["h2", "http/1.1"]
        change(&settings)
        return try ClientTLSContext(settings: settings, wallTime: wallTime)
    }
}
