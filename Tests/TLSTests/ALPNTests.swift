// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import TLS
import Testing

@Suite struct ALPNTests {
    struct Row: Sendable {
        var offered: [String]
        var served: [String]
        var agreed: ApplicationProtocol?
        init(_ offered: [String], _ served: [String], _ agreed: ApplicationProtocol?) {
            self.offered = offered
            self.served = served
            self.agreed = agreed
        }
    }

    @Test(
        arguments: [TLSVersion.tls12, .tls13],
        [
            Row(["h2", "http/1.1"], ["h2", "http/1.1"], .http2),
            Row(["http/1.1", "h2"], ["h2", "http/1.1"], .http2),  // the server's order
            Row(["h2", "http/1.1"], ["http/1.1", "h2"], .http1),
            Row(["http/1.1"], ["h2", "http/1.1"], .http1),
            Row([], ["h2", "http/1.1"], ApplicationProtocol.none),
            Row(["h2"], [], ApplicationProtocol.none),
            Row(["h2"], ["http/1.1"], nil),
        ])
    func settlesOn(version: TLSVersion, row: Row) throws {
        let pair = EnginePair(
            try TestIdentities.serverContext {
                $0.applicationProtocols = row.served
                $0.maximumVersion = version
            },
            try TestIdentities.clientContext { $0.applicationProtocols = row.offered })
        pair.settle()
        if let agreed = row.agreed {
            #expect(pair.isComplete)
            #expect(pair.server.negotiatedProtocol == agreed)
            #expect(pair.client.negotiatedProtocol == agreed)
        } else {
            #expect(pair.serverStatus.failure?.reason == .clientTLSFailed)
            #expect(pair.serverStatus.failure?.detail == "no application protocol")
            #expect(pair.clientStatus.failure?.detail == "the peer sent the alert \"no application protocol\"")
        }
    }

    /// D05: a client that speaks only something else is told so.
    @Test func fooIsRefusedWithTheAlert() throws {
        let pair = EnginePair(
            try TestIdentities.serverContext(), try TestIdentities.clientContext { $0.applicationProtocols = ["foo"] })
        pair.settle()
        #expect(pair.clientStatus.failure?.detail == "the peer sent the alert \"no application protocol\"")
        let mixed = EnginePair(
            try TestIdentities.serverContext(), try TestIdentities.clientContext { $0.applicationProtocols = ["foo", "http/1.1"] })
        mixed.settle()
        #expect(mixed.server.negotiatedProtocol == .http1)
    }
}
