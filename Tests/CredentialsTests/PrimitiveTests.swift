// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Credentials

@Suite struct DigestTests {
    /// FIPS 180-4's examples, and the length at which padding needs a second block.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func isSHA256(text: String, hex: String) {
        #expect(Digest256.sha256(Array(text.utf8)).hexadecimal == hex)
        #expect(Digest256(hexadecimal: hex) == Digest256.sha256(Array(text.utf8)))
        #expect(Digest256(hexadecimal: hex.uppercased())?.hexadecimal == hex)
    }

    @Test(arguments: [0, 63, 64, 127, 128, 255])
    func differsWhereOneBitDiffers(bit: Int) {
        let digest = Digest256.sha256(Array("abc".utf8))
        var bytes = digest.bytes
        bytes[bit / 8] ^= UInt8(0x80) >> UInt8(bit % 8)
        #expect(Digest256(bytes.span) != digest)
    }

    @Test(arguments: [
        "", "ab", String(repeating: "g", count: 64), String(repeating: "a", count: 63), "+" + String(repeating: "a", count: 63),
    ])
    func isReadFromSixtyFourDigitsAlone(text: String) {
        #expect(Digest256(hexadecimal: text) == nil)
    }
}

@Suite struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func readsWhatRFC4648Writes(plain: String, text: String) {
        #expect(Base64.decode(Array(text.utf8).span, .standard) == Array(plain.utf8))
        #expect(Base64.encode(Array(plain.utf8), .standard) == text)
        let bare = text.filter { $0 != "=" }
        #expect(Base64.decode(Array(bare.utf8).span, .url) == Array(plain.utf8))
        #expect(Base64.encode(Array(plain.utf8), .url) == bare)
    }

    @Test func everyByteComesBack() {
        let bytes = (0...255).map { UInt8($0) }
        for alphabet in [Base64.Alphabet.standard, .url, .adapted] {
            for length in [254, 255, 256] {
                let some = Array(bytes.prefix(length))
                #expect(Base64.decode(Array(Base64.encode(some, alphabet).utf8).span, alphabet) == some)
            }
        }
    }

    /// One value, one text: a spare bit, padding where there is none, or the other alphabet makes another spelling.
    @Test(arguments: [
        ("Zg", Base64.Alphabet.standard), ("Zg=", .standard), ("Zg===", .standard), ("Zh==", .standard), ("Zm9=", .standard),
        ("Z===", .standard), ("====", .standard), ("Zg==Zg==", .standard), ("-_-_", .standard), ("Zm9v\n", .standard),
        ("Zg==", .url), ("Zh", .url), ("Zm9", .url), ("Z", .url), ("+/+/", .url), ("Zm 9", .url), ("Zm\u{0}v", .url), ("Zmé", .url),
    ])
    func refusesOtherSpellings(text: String, alphabet: Base64.Alphabet) {
        #expect(Base64.decode(Array(text.utf8).span, alphabet) == nil)
    }
}

@Suite struct NumericDateTests {
    @Test(arguments: [
        ("0", 0), ("1", 1_000_000_000), ("1700000000", 1_700_000_000_000_000_000), ("1700000000.5", 1_700_000_000_500_000_000),
        ("1.7e9", 1_700_000_000_000_000_000), ("17E+8", 1_700_000_000_000_000_000), ("1700000000000e-3", 1_700_000_000_000_000_000),
        ("0.0000000019", 1), ("0e9999", 0), ("0.000", 0), ("1e-9999", 0), ("9000000000", 9_000_000_000_000_000_000),
        ("1700000000.123456789123", 1_700_000_000_123_456_789),
    ])
    func isExact(number: String, nanoseconds: Int64) {
        #expect(NumericDate(Array(number.utf8).span)?.nanoseconds == nanoseconds)
    }

    @Test(arguments: [
        "", "-1", "-0", "1e300", "1e9999", "1e10", "9000000001", "9000000000.000000001", "99999999999999999999", "1e99999", "1e",
        "1e+", "NaN",
        "Infinity", "0x10", " 1", "1 ", "\"1700000000\"", "true",
    ])
    func refusesWhatIsNoDate(number: String) {
        #expect(NumericDate(Array(number.utf8).span) == nil)
    }
}

@Suite struct VerifiedTableTests {
    final class Box: Sendable {
        let n: Int
        init(_ n: Int) { self.n = n }
    }

    private func key(_ n: Int) -> Digest256 { Digest256.sha256(Array("key \(n)".utf8)) }

    @Test func findsWhatWasPutIn() {
        let table = VerifiedTable<Box>(capacity: 64)
        for n in 0..<16 { table.insert(Box(n), for: key(n)) }
        #expect((0..<16).allSatisfy { table.find(key($0))?.n == $0 })
        #expect(table.find(key(99)) == nil)
    }

    @Test func neverHoldsMoreThanItsPlaces() {
        let table = VerifiedTable<Box>(capacity: 100)
        #expect(table.capacity == 128)
        for n in 0..<10_000 { table.insert(Box(n), for: key(n)) }
        #expect((0..<10_000).count { table.find(key($0)) != nil } <= 128)
    }

    @Test func theOneLeastUsedGivesWay() {
        let table = VerifiedTable<Box>(capacity: 4)
        for n in 0..<4 { table.insert(Box(n), for: key(n)) }
        _ = table.find(key(0))
        table.insert(Box(4), for: key(4))
        #expect(table.find(key(0)) != nil)
        #expect(table.find(key(1)) == nil)
        #expect(table.find(key(4))?.n == 4)
    }

    @Test func aKeyHasOnePlace() {
        let table = VerifiedTable<Box>(capacity: 4)
        table.insert(Box(1), for: key(1))
        table.insert(Box(2), for: key(2))
        table.remove(key(1))
        table.insert(Box(3), for: key(2))
        #expect(table.find(key(2))?.n == 3)
        table.remove(key(2))
        #expect(table.find(key(2)) == nil)
        #expect(table.find(key(1)) == nil)
    }
}
