// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Testing

@testable import HTTP

/// The seed of random tests: `HOLDFAST_SEED`, or one that never changes.
let testSeed: UInt64 = {
    guard let text = unsafe getenv("HOLDFAST_SEED") else { return 0x5eed }
    return unsafe UInt64(String(cString: text)) ?? 0x5eed
}()

/// Generated messages: what is forwarded is what was understood (promise P3), and how bytes arrive does not matter (P2).
struct RoundTripTests {
    /// A message as it was understood, or `nil` if it was refused or is not finished.
    struct Understood: Equatable {
        var head: String
        var body: [UInt8] = []
        var trailers = ""
    }

    /// Reads the first message of `bytes` in pieces of `piece` bytes, and writes it again.
    private func request(_ bytes: [UInt8], piece: Int) -> (Understood, rewritten: [UInt8])? {
        var decoder = RequestDecoder(limits: HeadLimits())
        let head = RequestHead()
        var trailers = FieldSection()
        var output = ByteBuffer()
        var understood: Understood?
        var start = 0
        var end = min(piece, bytes.count)
        while true {
            let input = Array(bytes[start..<end])
            let (consumed, event) = decoder.next(input.span, into: head, trailers: &trailers)
            start += consumed
            switch event {
            case .needMore:
                if end == bytes.count && consumed == 0 { return nil }
                end = min(end + piece, bytes.count)
            case .head:
                head.stripConnectionFields()
                head.fields.removeAll(.contentLength)  // it is in the framing
                head.fields.removeAll(.expect)
                head.keepsConnection = true  // said anew on each connection
                head.version = .http11
                head.schemeIsHTTPS = nil
                if head.framing == .length(0) { head.framing = .none }  // both are no body; the encoder knows which to say
                understood = Understood(head: describe(head))
                HTTP1Encoder.encodeRequest(head, into: &output)
            case .body(let range):
                understood?.body += input[range]
                let span = input.span.extracting(range)
                if head.framing == .stream { HTTP1Encoder.encodeChunk(span, into: &output) } else { output.append(span) }
            case .end:
                if head.framing == .stream { HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &output) }
                guard var whole = understood else { return nil }
                whole.trailers = describe(trailers)
                return (whole, HTTPTests.bytes(output))
            case .http2Preface, .failure: return nil
            }
        }
    }

    private func response(_ bytes: [UInt8], piece: Int) -> (Understood, rewritten: [UInt8])? {
        var decoder = ResponseDecoder(limits: HeadLimits())
        decoder.begin(requestMethod: .get)
        let head = ResponseHead()
        var trailers = FieldSection()
        var output = ByteBuffer()
        var understood = Understood(head: "")
        var start = 0
        var end = min(piece, bytes.count)
        while true {
            let input = Array(bytes[start..<end])
            let (consumed, event) = decoder.next(input.span, into: head, trailers: &trailers)
            start += consumed
            switch event {
            case .needMore:
                if end == bytes.count && consumed == 0 { return nil }
                end = min(end + piece, bytes.count)
            case .informational, .head:
                head.stripConnectionFields()
                head.fields.removeAll(.contentLength)
                understood.head += describe(head)
                if case .head = event {
                    HTTP1Encoder.encodeResponse(
                        head, framing: head.framing, requestMethod: .get, version: .http11, keepsConnection: head.keepsConnection,
                        into: &output)
                } else {
                    HTTP1Encoder.encodeInformational(head, into: &output)
                }
            case .body(let range):
                understood.body += input[range]
                let span = input.span.extracting(range)
                if head.framing == .stream { HTTP1Encoder.encodeChunk(span, into: &output) } else { output.append(span) }
            case .end:
                if head.framing == .stream { HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &output) }
                understood.trailers = describe(trailers)
                return (understood, HTTPTests.bytes(output))
            case .failure: return nil
            }
        }
    }

    @Test func requestsAreForwardedAsUnderstood() {
        var accepted = 0
        for i in 0..<800 {
            var generator = MessageGenerator(seed: testSeed, message: i)
            let message = generator.request()
            guard let (first, rewritten) = request(message, piece: message.count) else { continue }
            accepted += 1
            guard let (second, _) = request(rewritten, piece: 1 + i % 50) else {
                Issue.record("HOLDFAST_SEED=\(testSeed) message \(i): what was written is refused: \(printable(rewritten))")
                return
            }
            // The chunks differ with the pieces; everything that they mean does not.
            guard first == second else {
                Issue.record("HOLDFAST_SEED=\(testSeed) message \(i): \(first) became \(second)")
                return
            }
        }
        #expect(accepted > 500, "HOLDFAST_SEED=\(testSeed)")
    }

    @Test func responsesAreForwardedAsUnderstood() {
        var accepted = 0
        for i in 0..<600 {
            var generator = MessageGenerator(seed: testSeed, message: i)
            let message = generator.response()
            guard let (first, rewritten) = response(message, piece: message.count) else { continue }
            accepted += 1
            guard let (second, _) = response(rewritten, piece: 1 + i % 50) else {
                Issue.record("HOLDFAST_SEED=\(testSeed) message \(i): what was written is refused: \(printable(rewritten))")
                return
            }
            guard first == second else {
                Issue.record("HOLDFAST_SEED=\(testSeed) message \(i): \(first) became \(second)")
                return
            }
        }
        #expect(accepted > 350, "HOLDFAST_SEED=\(testSeed)")
    }

    /// Promise P2 over generated messages, in single bytes and at some cuts. Few, since debug builds are slow; the tables
    /// have each cut, and the fuzzer has millions.
    @Test func arrivalDoesNotMatter() {
        for i in 0..<300 {
            var generator = MessageGenerator(seed: testSeed &+ 1, message: i)
            let message = generator.request() + generator.request()
            var whole = RequestConnection()
            whole.receive(message)
            let expected = whole.log
            var single = RequestConnection()
            for byte in message { single.receive(CollectionOfOne(byte)) }
            let log = single.log
            var logs = [log]
            for part in 1...4 {
                let cut = message.count * (i % 97 + 1) * part / 490
                var cutConnection = RequestConnection()
                cutConnection.receive(message[..<cut])
                cutConnection.receive(message[cut...])
                logs.append(cutConnection.log)
            }
            guard logs.allSatisfy({ $0 == expected }) else {
                Issue.record(
                    "HOLDFAST_SEED=\(testSeed) message \(i) depends on its cuts: \(printable(message)) → \(expected) or \(logs)")
                return
            }
        }
        for i in 0..<300 {
            var generator = MessageGenerator(seed: testSeed &+ 2, message: i)
            let message = generator.response()
            var whole = ResponseConnection()
            whole.receive(message)
            let expected = whole.log
            var single = ResponseConnection()
            for byte in message { single.receive(CollectionOfOne(byte)) }
            let log = single.log
            guard log == expected else {
                Issue.record("HOLDFAST_SEED=\(testSeed) message \(i) depends on its cuts: \(printable(message))")
                return
            }
        }
    }
}
