// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Reactor

/// What is read from a DNS message, and that nothing in one stops the reader.
@Suite struct DNSMessageTests {
    /// One record behind the question `users.internal`.
    struct Piece {
        /// A pointer to the question's name, or another.
        var owner: [UInt8] = [0xC0, 12]
        var type: UInt16
        var kind: UInt16 = 1
        var timeToLive: UInt32
        var data: [UInt8]

        var bytes: [UInt8] {
            owner + word(type) + word(kind) + word(UInt16(timeToLive >> 16)) + word(UInt16(timeToLive & 0xFFFF))
                + word(UInt16(data.count))
                + data
        }
    }

    private static func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }
    private static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func message(_ pieces: [Piece], type: UInt16 = 1) -> [UInt8] {
        [0x12, 0x34, 0x81, 0x80] + word(1) + word(UInt16(pieces.count)) + word(0) + word(0) + name("users.internal") + word(type)
            + word(1)
            + pieces.flatMap(\.bytes)
    }

    private static func a(_ last: UInt8, _ timeToLive: UInt32 = 30) -> Piece {
        Piece(type: 1, timeToLive: timeToLive, data: [10, 0, 0, last])
    }

    private func addresses(_ answer: NameAnswer) -> String {
        switch answer {
        case .failed(let failure): return failure.rawValue
        case .records(let records, let timeToLive):
            let texts = records.map { record in
                switch record {
                case .address(let address): String("\(address)".dropLast(2))
                case .service(let target, let port, let priority, let weight): "\(target):\(port)/\(priority)/\(weight)"
                }
            }
            return texts.joined(separator: " ") + " \(timeToLive.components.seconds)s"
        }
    }

    @Test func addressesAndTimesToLive() {
        #expect(addresses(DNSMessage.answer(Self.message([Self.a(1), Self.a(2)]), to: .a)) == "10.0.0.1 10.0.0.2 30s")
        #expect(addresses(DNSMessage.answer(Self.message([Self.a(1, 30), Self.a(2, 5)]), to: .a)) == "10.0.0.1 10.0.0.2 5s")
        #expect(addresses(DNSMessage.answer(Self.message([Self.a(1, 0)]), to: .a)) == "10.0.0.1 0s")
        #expect(addresses(DNSMessage.answer(Self.message([Self.a(1, 1 << 31)]), to: .a)) == "10.0.0.1 0s", "RFC 2181, section 8")
        #expect(addresses(DNSMessage.answer(Self.message([Self.a(1, (1 << 31) - 1)]), to: .a)) == "10.0.0.1 2147483647s")
        #expect(addresses(DNSMessage.answer(Self.message([]), to: .a)) == "empty")
        #expect(addresses(DNSMessage.answer(Self.message([Self.a(1)]), to: .aaaa)) == "empty")
    }

    @Test func anAliasBoundsTheTimeToLive() {
        let alias = Piece(type: 5, timeToLive: 3, data: Self.name("u1.internal"))
        let target = Piece(owner: Self.name("u1.internal"), type: 1, timeToLive: 60, data: [10, 0, 0, 9])
        #expect(addresses(DNSMessage.answer(Self.message([alias, target]), to: .a)) == "10.0.0.9 3s")
        #expect(addresses(DNSMessage.answer(Self.message([alias]), to: .a)) == "empty")
        let text = Piece(type: 16, timeToLive: 1, data: [3, 1, 2, 3])
        #expect(addresses(DNSMessage.answer(Self.message([text, Self.a(1)]), to: .a)) == "10.0.0.1 30s", "others do not")
        let chaos = Piece(type: 1, kind: 3, timeToLive: 1, data: [10, 0, 0, 2])
        #expect(addresses(DNSMessage.answer(Self.message([chaos, Self.a(1)]), to: .a)) == "10.0.0.1 30s", "of another class")
        let odd = Piece(owner: [3, 0x2A, 0x2F, 0xFF, 0], type: 1, timeToLive: 30, data: [10, 0, 0, 3])
        #expect(addresses(DNSMessage.answer(Self.message([odd]), to: .a)) == "10.0.0.3 30s", "whatever its owner is called")
    }

    @Test func sixteenOctets() {
        let six = Piece(type: 28, timeToLive: 30, data: [0xFD, 0] + [UInt8](repeating: 0, count: 13) + [1])
        #expect(addresses(DNSMessage.answer(Self.message([six], type: 28), to: .aaaa)) == "[fd00::1] 30s")
        let mapped = Piece(type: 28, timeToLive: 30, data: [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 10, 0, 0, 1])
        #expect(addresses(DNSMessage.answer(Self.message([mapped], type: 28), to: .aaaa)) == "10.0.0.1 30s")
    }

    struct Target: Sendable, CustomTestStringConvertible {
        var bytes: [UInt8]
        var expected: String
        var testDescription: String { "\(bytes.prefix(6)) \(expected)" }

        init(_ bytes: [UInt8], _ expected: String) {
            self.bytes = bytes
            self.expected = expected
        }
    }

    private static let longLabel: [UInt8] = [63] + [UInt8](repeating: 0x61, count: 63)

    @Test(arguments: [
        Target(name("Node-1.Internal"), "node-1.internal:9001/2/7 30s"), Target([0xC0, 12], "users.internal:9001/2/7 30s"),
        Target([2, 0x61, 0x5F, 0xC0, 12], "a_.users.internal:9001/2/7 30s"), Target([0], ":9001/2/7 30s"),
        // Backwards only, so never round in a circle: to itself, forwards, off the end.
        Target([0xC0, 52], "malformed"), Target([0xC0, 60], "malformed"), Target([0xFF, 0xFF], "malformed"),
        Target([0xC0], "malformed"), Target([0x41, 0], "malformed"), Target([3, 0x61], "malformed"),
        Target([1, 0x2E, 0], "malformed"), Target([1, 0x0A, 0], "malformed"), Target([1, 0xC3, 0], "malformed"),
        Target(longLabel + longLabel + longLabel + longLabel + [0], "malformed"),
        // Something behind the name.
        Target([1, 0x61, 0, 0], "malformed"),
    ])
    func services(target: Target) {
        let data = Self.word(2) + Self.word(7) + Self.word(9001) + target.bytes
        let service = Piece(type: 33, timeToLive: 30, data: data)
        #expect(addresses(DNSMessage.answer(Self.message([service], type: 33), to: .srv)) == target.expected)
    }

    /// A pointer to a label whose end is that pointer: each round adds a letter, and the bound ends it.
    @Test func aCircleWithLettersEnds() {
        let place = UInt8(Self.message([], type: 33).count + 12 + 6)
        let service = Piece(type: 33, timeToLive: 30, data: Self.word(2) + Self.word(7) + Self.word(9001) + [1, 0x61, 0xC0, place])
        #expect(addresses(DNSMessage.answer(Self.message([service], type: 33), to: .srv)) == "malformed")
    }

    @Test func wrongLengths() {
        for count in [0, 3, 5, 16] {
            let short = Piece(type: 1, timeToLive: 30, data: [UInt8](repeating: 1, count: count))
            #expect(addresses(DNSMessage.answer(Self.message([short]), to: .a)) == "malformed")
        }
        let many = (0..<300).map { Self.a(UInt8($0 % 256)) }
        guard case .records(let records, _) = DNSMessage.answer(Self.message(many), to: .a) else {
            Issue.record("many records are no reason to refuse all")
            return
        }
        #expect(records.count == DNSMessage.recordLimit)
    }

    /// Cut at every position, and with every octet changed to every value of some: an answer each time, and never the whole one when cut.
    @Test func cutAndBent() {
        let service = Piece(type: 33, timeToLive: 30, data: Self.word(2) + Self.word(7) + Self.word(9001) + [1, 0x61, 0xC0, 12])
        for (message, record) in [
            (Self.message([Self.a(1), Self.a(2)]), NameQuestion.Record.a), (Self.message([service, service], type: 33), .srv),
        ] {
            for length in 0..<message.count {
                #expect(DNSMessage.answer(Array(message[..<length]), to: record) == .failed(.malformed))
            }
            for i in message.indices {
                for value: UInt8 in [0, 1, 12, 63, 64, 0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xFF] {
                    var bent = message
                    bent[i] = value
                    _ = DNSMessage.answer(bent, to: record)
                }
            }
        }
    }
}

private func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }
