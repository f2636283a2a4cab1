// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import TLS
import Testing

@Suite struct HandshakeTests {
    @Test(arguments: [TLSVersion.tls12, .tls13], [1, 7, 1000, Int.max])
    func completesInPiecesOfAnySize(version: TLSVersion, chunk: Int) throws {
        let pair = EnginePair(
            try TestIdentities.serverContext { $0.maximumVersion = version }, try TestIdentities.clientContext())
        pair.settle(chunk: chunk)
        #expect(pair.isComplete)
        #expect(pair.client.version == "TLSv\(version.rawValue)")
        #expect(pair.server.version == "TLSv\(version.rawValue)")
        #expect(pair.server.cipherName == (version == .tls13 ? "TLS_AES_128_GCM_SHA256" : "ECDHE-ECDSA-AES128-GCM-SHA256"))
        #expect(pair.server.groupName?.lowercased() == "x25519")
        #expect(!pair.server.isResumed)
        #expect(!pair.server.hasPeerCertificate)
        #expect(pair.client.hasPeerCertificate)
        #expect(pair.client.peerCertificateSubject == "CN=edge.example")
        #expect(pair.client.verifyErrorText == nil)
        #expect(pair.sendFromClient(Array("ping".utf8)) == nil)
        #expect(pair.sendFromServer(Array("pong".utf8)) == nil)
        pair.settle(chunk: chunk)
        #expect(pair.takeServerPlain() == Array("ping".utf8))
        #expect(pair.takeClientPlain() == Array("pong".utf8))
    }

    /// Cut once at each position of the client's first flight and of the server's.
    @Test func completesCutAtEachPosition() throws {
        let server = try TestIdentities.serverContext()
        let client = try TestIdentities.clientContext { $0.reusesSessions = false }
        var cut = 1
        var longest = 0
        while cut <= max(longest, 1) {
            let pair = EnginePair(server, client)
            pair.stepClient()
            longest = max(longest, pair.toServer.count)
            pair.stepServer(chunk: cut)
            pair.stepServer()
            pair.stepClient(chunk: cut)
            pair.settle()
            #expect(pair.isComplete, "cut at \(cut)")
            if !pair.isComplete { break }
            cut += 7
        }
        #expect(longest > 150)
    }

    @Test func olderVersionsThanTheMinimumAreRefused() throws {
        let pair = EnginePair(
            try TestIdentities.serverContext { $0.minimumVersion = .tls13 },
            try TestIdentities.clientContext { $0.maximumVersion = .tls12 })
        pair.settle()
        #expect(pair.serverStatus.failure?.reason == .clientTLSFailed)
        #expect(pair.serverStatus.failure?.detail == "unsupported protocol")
        #expect(pair.clientStatus.failure?.reason == .tlsHandshake)
        #expect(pair.clientStatus.failure?.detail == "the peer sent the alert \"protocol version\"")
    }

    /// No suite in common: the client speaks ECDSA suites, the server has an RSA key.
    @Test func noSharedSuiteIsACleanFailure() throws {
        let pair = EnginePair(
            try TestIdentities.serverContext(\.rsa) { $0.maximumVersion = .tls12 },
            try TestIdentities.clientContext { $0.cipherSuites12 = ["ECDHE-ECDSA-AES128-GCM-SHA256"] })
        pair.settle()
        #expect(pair.serverStatus.failure?.detail == "no shared cipher")
        #expect(pair.clientStatus.failure?.detail == "the peer sent the alert \"handshake failure\"")
    }

    @Test func theServersOrderOfSuitesCountsUnlessTheClientPrefersChaCha() throws {
        let server = try TestIdentities.serverContext()
        let aes256First = EnginePair(
            server,
            try TestIdentities.clientContext { $0.cipherSuites13 = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"] })
        aes256First.settle()
        #expect(aes256First.server.cipherName == "TLS_AES_128_GCM_SHA256")
        let chaChaFirst = EnginePair(
            server,
            try TestIdentities.clientContext {
                $0.cipherSuites13 = ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
            })
        chaChaFirst.settle()
        #expect(chaChaFirst.server.cipherName == "TLS_CHACHA20_POLY1305_SHA256")
    }

    @Test func groupsAreSettable() throws {
        let pair = EnginePair(
            try TestIdentities.serverContext { $0.groups = ["P-384"] },
            try TestIdentities.clientContext { $0.groups = ["X25519", "P-384"] })  // a HelloRetryRequest on the way
        pair.settle()
        #expect(pair.isComplete)
        #expect(pair.server.groupName == "secp384r1")
    }

    /// A failure repeats, and makes no more output.
    @Test func aFailedEngineStaysFailed() throws {
        let server = TLSEngine(server: try TestIdentities.serverContext())
        var input = ByteBuffer()
        var plain = ByteBuffer()
        var output = ByteBuffer()
        input.append([UInt8](repeating: 0x55, count: 64))
        let first = EnginePair.Outcome(server.receive(from: &input, into: &plain, maximumPlain: 1024, output: &output))
        #expect(first.failure?.reason == .clientTLSFailed)
        let sent = output.count
        input.append([1, 2, 3])
        let second = EnginePair.Outcome(server.receive(from: &input, into: &plain, maximumPlain: 1024, output: &output))
        #expect(second == first)
        server.close(into: &output)
        let sentAfter = output.count
        #expect(sentAfter == sent)
        #expect(unsafe [UInt8(1)].withUnsafeBytes { unsafe server.send($0, into: &output) } == first.failure)
    }

    @Test func sendingBeforeTheHandshakeIsAFailureAndNoTrap() throws {
        let client = TLSEngine(client: try TestIdentities.clientContext(), serverName: "edge.example")
        var plain = ByteBuffer()
        var output = ByteBuffer()
        plain.append([1, 2, 3])
        #expect(client.send(plain: &plain, into: &output)?.reason == .tlsHandshake)
        #expect(client.negotiatedProtocol == .none)
        #expect(client.peerCertificate == nil)
        #expect(client.cipherName == "")
        #expect(client.groupName == nil)
    }

    @Test(arguments: ["", String(repeating: "a", count: 300), "a\0b"])
    func anImpossibleServerNameIsAFailureAndNoTrap(name: String) throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext(), name: name)
        pair.settle()
        #expect(pair.clientStatus.failure?.reason == .tlsHandshake)
    }
}
