// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core
@testable import TLS
import Testing

/// What a client may send instead of TLS as we speak it: always a defined end, never a trap.
@Suite struct HostileInputTests {
    private struct Answer {
        var status: EnginePair.Outcome
        var output: [UInt8]
    }

    /// A fresh server's answer to `input`, delivered in pieces of `chunk`.
    private func answer(to input: [UInt8], chunk: Int = .max, _ context: ServerTLSContext) -> Answer {
        let server = TLSEngine(server: context)
        var wire = ByteBuffer()
        var plain = ByteBuffer()
        var output = ByteBuffer()
        var status = EnginePair.Outcome.needMoreInput
        var offset = 0
        while offset < input.count && status.failure == nil {
            let end = chunk < input.count - offset ? offset + chunk : input.count
            wire.append(input[offset..<end].span)
            offset = end
            status = EnginePair.Outcome(server.receive(from: &wire, into: &plain, maximumPlain: 4096, output: &output))
        }
        return Answer(status: status, output: take(&output))
    }

    // MARK: Clear HTTP

    @Test(
        arguments: [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /x HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HEAD / HTTP/1.0\r\n",
            "CONNECT a:443 HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\r\n", "GET ",
        ], [1, 3, Int.max])
    func clearHTTPIsDetected(request: String, chunk: Int) throws {
        let found = answer(to: Array(request.utf8), chunk: chunk, try TestIdentities.serverContext())
        #expect(found.status.failure?.isClearHTTP == true)
        #expect(found.status.failure?.reason == .clientTLSFailed)
        #expect(found.output.isEmpty, "an alert before a clear answer would garble it")
    }

    @Test(arguments: ["GE", "GET", "G", ""])
    func aPossibleMethodIsWaitedFor(start: String) throws {
        let found = answer(to: Array(start.utf8), chunk: 1, try TestIdentities.serverContext())
        #expect(found.status == .needMoreInput)
        #expect(found.output.isEmpty)
    }

    @Test(arguments: [
        "SSH-2.0-OpenSSH_9.2\r\n", "get / http", "A B\r\n   ", " GET /", "VERYLONGMETHODNAMES / HTTP/1.1\r\n", "\r\n\r\n\r\n",
    ])
    func otherClearTextIsNotHTTP(text: String) throws {
        let found = answer(to: Array(text.utf8), chunk: 1, try TestIdentities.serverContext())
        #expect(found.status.failure?.isClearHTTP == false)
        #expect(found.status.failure?.reason == .clientTLSFailed)
    }

    // MARK: Old protocols and garbage

    /// A ClientHello with the given version and one old suite, without extensions.
    private func clientHello(record: [UInt8], version: [UInt8]) -> [UInt8] {
        let body = version + [UInt8](repeating: 9, count: 32) + [0] + [0, 4, 0xC0, 0x09, 0x00, 0x2F] + [1, 0]
        let message = [1, 0, 0, UInt8(body.count)] + body
        return [22] + record + [0, UInt8(message.count)] + message
    }

    @Test(
        arguments: [
            (0, "version too low", 40),  // SSL 3.0: not even an alert of its own; handshake_failure
            (1, "unsupported protocol", 70),  // TLS 1.0: protocol_version
            (2, "unsupported protocol", 70),
        ] as [(UInt8, String, UInt8)])
    func oldProtocolsAreRefusedWithAnAlert(minor: UInt8, detail: String, alert: UInt8) throws {
        let found = answer(
            to: clientHello(record: [3, min(minor, 1)], version: [3, minor]), try TestIdentities.serverContext())
        #expect(found.status.failure?.detail == detail)
        #expect(found.output.suffix(2) == [2, alert])
    }

    /// TLS 1.2 with a suite that is not forward secret, or not AEAD.
    @Test func weakSuitesAreRefusedWithAnAlert() throws {
        let found = answer(to: clientHello(record: [3, 1], version: [3, 3]), try TestIdentities.serverContext())
        #expect(found.status.failure?.detail == "no shared cipher")
        #expect(found.output.suffix(2) == [2, 40])  // fatal, handshake_failure
    }

    @Test func anSSL2HelloIsRefused() throws {
        let body: [UInt8] = [1, 0, 2, 0, 3, 0, 0, 0, 16, 1, 0, 0x80] + [UInt8](repeating: 1, count: 16)
        let found = answer(to: [0x80, UInt8(body.count)] + body, try TestIdentities.serverContext())
        #expect(found.status.failure?.reason == .clientTLSFailed)
    }

    @Test func randomBytesEndInAFailureOrInWaiting() throws {
        let context = try TestIdentities.serverContext()
        let seed: UInt64 = 20_261
        let draw = Draw(seed: seed)
        for round in 0..<300 as Range<UInt64> {
            var bytes = (0..<200).map { UInt8(truncatingIfNeeded: draw.bits(request: round, .fault, $0)) }
            if round % 2 == 0 { bytes.replaceSubrange(0..<5, with: [22, 3, 1, 0, 195]) }
            if round % 4 == 0 { bytes.replaceSubrange(5..<11, with: [1, 0, 0, 191, 3, 3]) }
            for chunk in [1, 13, Int.max] {
                let found = answer(to: bytes, chunk: chunk, context)
                if found.status.failure == nil { #expect(found.status == .needMoreInput, "HOLDFAST_SEED=\(seed) round \(round)") }
            }
        }
    }

    /// A real ClientHello with each byte in turn replaced: refused or answered, the same in one piece and in many.
    @Test func aMutatedHelloHasADefinedEnd() throws {
        let context = try TestIdentities.serverContext()
        let client = TLSEngine(client: try TestIdentities.clientContext(), serverName: "edge.example")
        var nothing = ByteBuffer()
        var plain = ByteBuffer()
        var output = ByteBuffer()
        _ = client.receive(from: &nothing, into: &plain, maximumPlain: 1, output: &output)
        let hello = take(&output)
        for i in hello.indices {
            for value in [0, 255, hello[i] ^ 1] as [UInt8] {
                var bytes = hello
                bytes[i] = value
                let whole = answer(to: bytes, context)
                let pieces = answer(to: bytes, chunk: 50, context)
                #expect(whole.status.failure == pieces.status.failure, "byte \(i) = \(value)")
            }
        }
    }

    // MARK: D01, D03

    /// Failing handshakes between the calls of a good connection on the same thread leave it alone.
    @Test func failuresDoNotReachOtherConnections() throws {
        let context = try TestIdentities.serverContext()
        let good = EnginePair(context, try TestIdentities.clientContext())
        let junk = [
            clientHello(record: [3, 0], version: [3, 0]), Array("\u{16}\u{3}\u{1}\u{0}\u{5}junk!".utf8),
            [UInt8](repeating: 0xFE, count: 40),
        ]
        func fail() { for bytes in junk { #expect(answer(to: bytes, context).status.failure != nil) } }
        let other = unsafe SSL_CTX_new(TLS_method())
        defer { unsafe SSL_CTX_free(other) }
        func soil() { #expect(unsafe SSL_CTX_set_cipher_list(other, "nonsense") == 0 && ERR_peek_error() != 0) }
        good.stepClient()
        while !good.toServer.isEmpty || !good.toClient.isEmpty {
            fail()
            soil()  // somebody else on this thread left an entry behind
            good.stepServer(chunk: 40)
            soil()
            good.stepClient(chunk: 40)
        }
        #expect(good.isComplete)
        for _ in 0..<20 {
            soil()
            fail()
            #expect(good.sendFromClient([1, 2, 3]) == nil)
            soil()
            good.settle()
            soil()
            #expect(good.sendFromServer([4, 5]) == nil)
            soil()
            good.settle()
        }
        #expect(good.takeServerPlain().count == 60)
        #expect(good.takeClientPlain().count == 40)
        soil()
        good.server.close(into: &good.toClient)
        soil()
        #expect(good.stepClient() == .closed)
    }

    /// D03: a TLS 1.2 client that asks for a renegotiation, again and again, is told no and then put out.
    @Test func renegotiationIsRefused() throws {
        let pair = EnginePair(
            try TestIdentities.serverContext { $0.maximumVersion = .tls12 }, try TestIdentities.clientContext())
        pair.settle()
        #expect(pair.isComplete)
        // Our client's own option forbids it to ask.
        unsafe SSL_clear_options(pair.client.ssl, holdfast_SSL_OPTIONS)
        #expect(unsafe SSL_renegotiate(pair.client.ssl) == 1)
        _ = pair.sendFromClient([1])  // its ClientHello leaves instead
        pair.stepServer()
        #expect(pair.serverStatus.failure == nil)
        let sent = take(&pair.toClient)
        #expect(records(in: sent).map(\.type) == [21])  // an alert, and no ServerHello
    }

    /// Records without data cost work and no memory; a flood of them ends the connection.
    @Test func aFloodOfKeyUpdatesEndsTheConnection() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        var rounds = 0
        while pair.serverStatus.failure == nil && rounds < 10_000 {
            rounds += 1
            #expect(unsafe SSL_key_update(pair.client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
            #expect(pair.sendFromServer([7]) == nil)
            pair.stepClient()  // reads, and on that occasion sends the update
            let update = pair.toServer.count
            #expect(update > 0)
            pair.stepServer()
        }
        #expect(pair.serverStatus.failure?.detail.hasSuffix("bytes of records without data in a row") == true)
        #expect((500...5_000).contains(rounds), "\(rounds)")
    }

    /// An occasional one between data is normal.
    @Test func keyUpdatesBetweenDataAreFine() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        for _ in 0..<3_000 {
            #expect(unsafe SSL_key_update(pair.client.ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
            #expect(pair.sendFromClient([7]) == nil)
            #expect(pair.sendFromServer([8]) == nil)
            pair.settle()
        }
        #expect(pair.takeServerPlain().count == 3_000)
        #expect(pair.serverStatus.failure == nil)
    }
}
