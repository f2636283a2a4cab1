// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import TLS
import Testing

@Suite struct ServerNameTests {
    struct Row: Sendable {
        var asked: String
        var served: String
        var isKnown: Bool
        init(_ asked: String, _ served: String, _ isKnown: Bool = true) {
            self.asked = asked
            self.served = served
            self.isKnown = isKnown
        }
    }

    /// Verification is off, so that what was served is seen and not what would be accepted.
    private func served(_ context: ServerTLSContext, _ name: String) throws -> EnginePair {
        let pair = EnginePair(context, try TestIdentities.clientContext { $0.verifiesPeer = false }, name: name)
        pair.settle()
        return pair
    }

    @Test(arguments: [
        Row("edge.example", "edge.example"),
        Row("www.edge.example", "edge.example"),
        Row("EDGE.Example", "edge.example"),
        Row("other.example", "other.example"),
        Row("a.wild.example", "*.wild.example"),
        Row("A.Wild.Example", "*.wild.example"),
        Row("a.b.wild.example", "edge.example", false),  // one label only
        Row("wild.example", "edge.example", false),
        Row(".wild.example", "edge.example", false),
        Row("*.wild.example", "*.wild.example"),
        Row("unknown.example", "edge.example", false),
        Row("edge.example.", "edge.example", false),  // RFC 6066 §3: without a trailing dot
        Row("edge", "edge.example", false),
        Row("127.0.0.1", "edge.example", false),  // an address is not sent
    ])
    func choosesTheCertificateByName(row: Row) throws {
        let context = try TestIdentities.serverContext(\.ecdsa, \.wildcard, \.other)
        let pair = try served(context, row.asked)
        #expect(pair.isComplete)
        #expect(pair.client.peerCertificateSubject == "CN=\(row.served)")
        #expect(pair.server.isServerNameKnown == row.isKnown)
        #expect(pair.server.serverName == (row.asked == "127.0.0.1" ? nil : row.asked.lowercased()))
    }

    @Test func anUnknownNameCanBeRefused() throws {
        let context = try TestIdentities.serverContext { $0.unknownServerName = .refuse }
        let known = try served(context, "edge.example")
        #expect(known.isComplete)
        let unknown = try served(context, "unknown.example")
        #expect(unknown.clientStatus.failure?.detail == "the peer sent the alert \"unrecognized name\"")
        #expect(unknown.serverStatus.failure?.reason == .clientTLSFailed)
        let none = try served(context, "127.0.0.1")  // no name at all is not an unknown one
        #expect(none.isComplete)
    }

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func servesTheKeyTypeThatTheClientCanVerify(version: TLSVersion) throws {
        let context = try TestIdentities.serverContext(\.ecdsa, \.rsa, \.other)
        let ecdsa = EnginePair(context, try TestIdentities.clientContext { $0.maximumVersion = version })
        ecdsa.settle()
        #expect(ecdsa.client.peerCertificate?.keyType == "EC")

        let rsaOnly = try TestIdentities.clientContext {
            $0.maximumVersion = version
            $0.signatureAlgorithms = ["rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"]
        }
        // The certificate authority's own signature is ECDSA, which such a client does not list; it is not checked here.
        let rsa = EnginePair(context, rsaOnly)
        rsa.settle()
        #expect(rsa.client.peerCertificate?.keyType == "RSA")
        // Also for the default certificate, which an unknown name gets.
        let byDefault = EnginePair(
            context,
            try TestIdentities.clientContext {
                $0.maximumVersion = version
                $0.verifiesPeer = false
                $0.signatureAlgorithms = ["rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"]
            }, name: "unknown.example")
        byDefault.settle()
        #expect(byDefault.client.peerCertificate?.keyType == "RSA")
    }

    @Test func thePlanPutsKeyTypesOfOneNameTogether() throws {
        func certificate(_ names: [String], _ type: String) throws -> CertificateDescription {
            let context = try TestIdentities.serverContext()
            var description = context.certificates[0]
            description.names = names
            description.keyType = type
            return description
        }
        let plan = CertificatePlan([
            try certificate(["a", "b"], "EC"), try certificate(["a"], "RSA"), try certificate(["a", "c"], "EC"),
            try certificate([], "EC"),
        ])
        #expect(plan.sets == [[0, 1], [0], [2]])
        #expect(plan.names.map { "\($0.name)=\($0.value)" } == ["a=0", "b=1", "c=2"])
        let nameless = CertificatePlan([try certificate([], "EC"), try certificate(["a"], "EC")])
        #expect(nameless.sets == [[0], [1]])
    }

    /// Against a plain dictionary, with many names.
    @Test func theTableAgreesWithADictionary() {
        var entries: [(name: String, value: Int)] = []
        for i in 0..<2_000 { entries.append((i % 3 == 0 ? "*.n\(i).example" : "n\(i).example", i)) }
        entries.append(("n1.example", 9_999))  // the first of equal names wins
        let table = ServerNameTable(entries)
        func look(_ name: String) -> Int? {
            let bytes = Array(name.utf8)
            return table.value(for: bytes.span)
        }
        for i in 0..<2_000 {
            if i % 3 == 0 {
                #expect(look("x.n\(i).example") == i)
                #expect(look("x.y.n\(i).example") == nil)
                #expect(look("n\(i).example") == nil)
            } else {
                #expect(look("n\(i).example") == i)
                #expect(look("x.n\(i).example") == nil)
            }
        }
        #expect(look("") == nil)
        #expect(look(".") == nil)
        #expect(ServerNameTable([]).value(for: Array("a".utf8).span) == nil)
    }

    @Test(
        arguments: [
            ([0, 4, 0, 0, 1, 97], 5..<6),
            ([0, 3, 0, 0, 0], nil),  // an empty name
            ([0, 5, 0, 0, 1, 97], nil),  // the list is longer than the extension
            ([0, 4, 1, 0, 1, 97], nil),  // not a host name
            ([0, 4, 0, 0, 2, 97], nil),
            ([0, 4, 0, 255, 255, 97], nil),
            ([0], nil), ([], nil),
        ] as [([UInt8], Range<Int>?)])
    func readsTheExtension(bytes: [UInt8], expected: Range<Int>?) {
        let found = ServerNameIndication.hostName(in: bytes.span)
        #expect(found == expected)
    }
}
