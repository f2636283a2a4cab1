// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import RateLimits

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct RedisTests {
    /// Whole, byte by byte and cut at every position: the same replies.
    @Test func repliesAreReadHoweverTheyArrive() throws {
        let input = bytes("+OK\r\n:-7\r\n$5\r\na\r\nb!\r\n$-1\r\n*3\r\n:1\r\n$0\r\n\r\n*0\r\n-NOSCRIPT No matching script.\r\n")
        let wanted: [RESPValue] = [
            .status(bytes("OK")), .integer(-7), .string(bytes("a\r\nb!")), .null, .array([.integer(1), .string([]), .array([])]),
            .error(bytes("NOSCRIPT No matching script.")),
        ]
        func read(_ pieces: [ArraySlice<UInt8>]) throws -> [RESPValue] {
            let reader = RESPReader()
            var values: [RESPValue] = []
            for piece in pieces {
                try reader.feed(piece.span)
                while let value = try reader.next() { values.append(value) }
            }
            return values
        }
        #expect(try read([input[...]]) == wanted)
        #expect(try read(input.indices.map { input[$0...$0] }) == wanted)
        for cut in input.indices { #expect(try read([input[..<cut], input[cut...]]) == wanted) }
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n", "$5\r\nabcdefgh\r\n$", ":x\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ])
    func whatIsNoReplyIsAnError(text: String) {
        let reader = RESPReader()
        #expect(throws: RESPError.self) {
            try reader.feed(bytes(text).span)
            while try reader.next() != nil {}
        }
    }

    @Test func aReplyWithoutEndIsCutOff() {
        let reader = RESPReader()
        let piece = [UInt8](repeating: 0x61, count: 65_536)
        #expect(throws: RESPError.self) {
            try reader.feed(bytes("$99999999\r\n").span)
            for _ in 0..<17 {
                try reader.feed(piece.span)
                _ = try reader.next()
            }
        }
    }

    @Test func argumentsCannotEndACommand() {
        var out = ByteBuffer()
        RedisCommand.append([bytes("SET"), bytes("a\r\nFLUSHALL\r\n"), []], to: &out)
        #expect(text(out) == "*3\r\n$3\r\nSET\r\n$13\r\na\r\nFLUSHALL\r\n\r\n$0\r\n\r\n")
    }

    /// The specification's own example, and its rule for braces.
    @Test func slotsAreTheClusters() {
        #expect(RedisSlot.slot(of: bytes("123456789")) == 0x31C3)
        #expect(RedisSlot.slot(of: bytes("{user1000}.following")) == RedisSlot.slot(of: bytes("{user1000}.followers")))
        #expect(RedisSlot.slot(of: bytes("foo{}{bar}")) == RedisSlot.slot(of: bytes("foo{}{bar}")))
        #expect(RedisSlot.slot(of: bytes("foo{{bar}}zap")) == RedisSlot.slot(of: bytes("{bar")))
        #expect(RedisSlot.slot(of: bytes("foo{bar}{zap}")) == RedisSlot.slot(of: bytes("bar")))
    }

    @Test func refusalsAreTold() {
        #expect(RedisRefusal(bytes("NOSCRIPT No matching script. Please use EVAL.")) == .noScript)
        #expect(RedisRefusal(bytes("MOVED 3999 127.0.0.1:6381")) == .moved(slot: 3999, to: "127.0.0.1:6381"))
        #expect(RedisRefusal(bytes("ASK 3999 127.0.0.1:6381")) == .ask(to: "127.0.0.1:6381"))
        #expect(RedisRefusal(bytes("MOVED 99999 127.0.0.1:6381")) == .other("MOVED"))
        #expect(RedisRefusal(bytes("OOM command not allowed when used memory > 'maxmemory'.")) == .other("OOM"))
        #expect(RedisRefusal([]) == .other("ERR"))
    }

    @Test func keysCannotBeForgedAndHideSecrets() throws {
        let rule = try #require(RateLimitRule(algorithm: .tokenBucket, amount: 5, period: 60 * second, burst: 5))
        func key(_ value: String, secret: Bool = false, alone: Bool = true) -> String {
            String(
                decoding: RedisKey.key(
                    prefix: "hf:", scope: "route /a/{id}", limit: "l", rule, value: bytes(value).span, isSecret: secret,
                    isAlone: alone),
                as: UTF8.self)
        }
        #expect(key("x}:y z") == "hf:{route%20/a/%7bid%7d:l:b60:x%7d%3ay%20z}")
        #expect(key("x", alone: false) == "hf:{route%20/a/%7bid%7d}:l:b60:x")
        #expect(!key("hunter2", secret: true).contains("hunter2") && key("hunter2", secret: true) != key("hunter3", secret: true))
        #expect(key(String(repeating: "k", count: 10_000)).utf8.count < 100)
    }

    @Test func anAnswerThatIsNoneIsNoVerdict() {
        #expect(
            RateLimitScript.verdicts(.array([.integer(1), .integer(1), .integer(4), .integer(5), .integer(0)]), count: 1)?
                .isAdmitted == true)
        #expect(RateLimitScript.verdicts(.array([.integer(1)]), count: 1) == nil)
        #expect(RateLimitScript.verdicts(.array([.integer(1), .null, .integer(4), .integer(5), .integer(0)]), count: 1) == nil)
        #expect(RateLimitScript.verdicts(.status([]), count: 1) == nil)
    }
}
