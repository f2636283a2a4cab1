// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core
import Glibc
import TLS
import Testing

@Suite struct RandomTests {
    /// Everything from key generation to the last record, under one seed.
    private func transcript(seed: UInt64, version: TLSVersion, keyType: CertificateAuthority.KeyType) throws -> [UInt8] {
        try TLSRandom.withSeed(seed) { () throws -> [UInt8] in
            let now: Int64 = 1_700_000_000
            let authority = try CertificateAuthority(notBefore: now - 10, notAfter: now + 1_000_000)
            let leaf = try authority.issue(
                .init(names: ["edge.example"], keyType: keyType, notBefore: now - 10, notAfter: now + 1_000_000))
            var serverSettings = ServerTLSSettings(certificates: [leaf.source])
            serverSettings.maximumVersion = version
            serverSettings.ticketKeys = TicketKeys()
            var clientSettings = ClientTLSSettings()
            clientSettings.authorities = .text(authority.rootPEM)
            let pair = EnginePair(
                try ServerTLSContext(settings: serverSettings, wallTime: now),
                try ClientTLSContext(settings: clientSettings, wallTime: now))
            pair.recordsTranscript = true
            pair.settle(chunk: 300)
            #expect(pair.isComplete)
            #expect(pair.sendFromClient(Array("hello".utf8)) == nil)
            var sent = pair.transcript
            sent += take(&pair.toServer)
            return sent
        }
    }

    @Test(
        arguments: [
            (.tls12, .ecdsaP256), (.tls13, .ecdsaP256), (.tls13, .rsa2048),
        ] as [(TLSVersion, CertificateAuthority.KeyType)])
    func oneSeedGivesOneTranscript(version: TLSVersion, keyType: CertificateAuthority.KeyType) throws {
        let first = try transcript(seed: 42, version: version, keyType: keyType)
        let second = try transcript(seed: 42, version: version, keyType: keyType)
        #expect(first == second)
        #expect(first.count > 1_000)
        #expect(try transcript(seed: 43, version: version, keyType: .ecdsaP256) != first)
    }

    private func draw() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 16)
        #expect(unsafe RAND_bytes(&bytes, 16) == 1)
        return bytes
    }

    @Test func seedsNestAndEnd() {
        let outer = TLSRandom.withSeed(1) { draw() }
        let nested = TLSRandom.withSeed(1) {
            let inner = TLSRandom.withSeed(2) { draw() }
            #expect(inner != outer)
            return draw()
        }
        #expect(nested == outer)
        #expect(!TLSRandom.isThreadSeeded)
        #expect(draw() != draw())
        #expect(draw() != outer)
    }

    /// A seed on one thread is not seen on another.
    @Test func otherThreadsAreNotSeeded() {
        final class Drawn { var first: [UInt8] = [], second: [UInt8] = [], wasSeeded = true }
        let drawn = Drawn()
        let seeded = TLSRandom.withSeed(7) {
            var thread = pthread_t()
            unsafe pthread_create(
                &thread, nil,
                { argument in
                    guard let argument = unsafe argument else { return nil }
                    let drawn = unsafe Unmanaged<Drawn>.fromOpaque(argument).takeUnretainedValue()
                    drawn.wasSeeded = TLSRandom.isThreadSeeded
                    for i in 0..<2 {
                        var bytes = [UInt8](repeating: 0, count: 16)
                        _ = unsafe RAND_bytes(&bytes, 16)
                        if i == 0 { drawn.first = bytes } else { drawn.second = bytes }
                    }
                    TLSRandom.seedThread(7)
                    TLSRandom.unseedThread()
                    return nil
                }, Unmanaged.passUnretained(drawn).toOpaque())
            pthread_join(thread, nil)
            return draw()
        }
        #expect(!drawn.wasSeeded)
        #expect(drawn.first != drawn.second)
        #expect(drawn.first != seeded)
        #expect(drawn.second != seeded)
    }
}
