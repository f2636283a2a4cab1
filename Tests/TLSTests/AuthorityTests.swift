// Holdfast
// SPDX-License-Identifier: Apache-2.0

import TLS
import Testing

@Suite struct AuthorityTests {
    @Test func issuesWhatIsAskedFor() throws {
        let authority = try CertificateAuthority(commonName: "A", keyType: .rsa2048, notBefore: 1_000, notAfter: 2_000_000_000)
        var request = CertificateAuthority.Request(
            commonName: "the name", names: ["a.example", "*.b.example", "10.1.2.3", "2001:db8::1"], notBefore: 1_000_000,
            notAfter: 3_000_000_000, serial: 0x1234)
        let issued = try authority.issue(request)
        var settings = ServerTLSSettings(certificates: [issued.source])
        let certificate = try ServerTLSContext(settings: settings).certificates[0]
        #expect(certificate.subject == "CN=the name")
        #expect(certificate.issuer == "CN=A")
        #expect(certificate.names == ["a.example", "*.b.example", "10.1.2.3", "2001:db8::1"])
        #expect(certificate.serial == "1234")
        #expect(certificate.notBefore == 1_000_000)
        #expect(certificate.notAfter == 3_000_000_000)
        request.isSelfSigned = true
        settings.certificates = [try authority.issue(request).source]
        let own = try ServerTLSContext(settings: settings).certificates[0]
        #expect(own.issuer == "CN=the name")
        request.serial = nil
        let drawn = try (0..<2).map { _ in
            settings.certificates = [try authority.issue(request).source]
            return try ServerTLSContext(settings: settings).certificates[0].serial
        }
        #expect(drawn[0] != drawn[1])
    }

    @Test func anImpossibleNameIsAnError() throws {
        let authority = try CertificateAuthority(notBefore: 0, notAfter: 1_000)
        #expect(throws: TLSConfigurationError.self) {
            try authority.issue(.init(names: ["a,nonsense"], notBefore: 0, notAfter: 1))
        }
    }
}
