// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A stored password: PBKDF2-HMAC-SHA-256 (RFC 8018 §5.2), written as passlib and with it many Python services write it:
/// `$pbkdf2-sha256$ROUNDS$SALT$HASH`.
///
/// Why this one and not crypt(3)'s bcrypt or yescrypt: those come as one call of tens of milliseconds, which a reactor would
/// spend deaf to all its clients. PBKDF2 is a chain of small steps, so a reactor takes it in slices between its turns
/// (`PasswordCheck`), in simulation as in production, with no thread of its own.
package struct PasswordHash: Equatable, Sendable {
    package var rounds: Int
    package var salt: [UInt8]
    package var hash: Digest256

    /// Fewer are no obstacle to somebody who found the file; OWASP asks for 600,000 (2023).
    package static let leastRounds = 100_000
    /// More would keep one verification going for seconds.
    package static let mostRounds = 5_000_000
    /// What `holdfast hash` writes.
    package static let usualRounds = 600_000

    package init(rounds: Int, salt: [UInt8], hash: Digest256) {
        self.rounds = rounds
        self.salt = salt
        self.hash = hash
    }

    /// Why a text is no such hash, as the end of a sentence that begins with it. It never repeats the text, which may be a password.
    package struct Problem: Error, Equatable, Sendable {
        package var words: String
    }

    package init(parsing text: String) throws(Problem) {
        let parts = text.utf8.split(separator: UInt8(ascii: "$"), omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1].elementsEqual("pbkdf2-sha256".utf8) else {
            throw Problem(words: "is no $pbkdf2-sha256$ hash")
        }
        guard (1...8).contains(parts[2].count), parts[2].allSatisfy({ (48...57).contains($0) }),
            let rounds = Int(String(decoding: parts[2], as: UTF8.self)),
            (PasswordHash.leastRounds...PasswordHash.mostRounds).contains(rounds)
        else {
            throw Problem(words: "has no number of rounds from \(PasswordHash.leastRounds) to \(PasswordHash.mostRounds)")
        }
        let saltText = Array(parts[3])
        let hashText = Array(parts[4])
        guard let salt = Base64.decode(saltText.span, .adapted), (8...64).contains(salt.count) else {
            throw Problem(words: "has no salt of 8 to 64 bytes")
        }
        let bytes = Base64.decode(hashText.span, .adapted) ?? []
        guard let hash = Digest256(bytes.span) else {
            throw Problem(words: "has no hash of 32 bytes")
        }
        self.init(rounds: rounds, salt: salt, hash: hash)
    }

    /// As it is written in a file.
    package var text: String {
        "$pbkdf2-sha256$\(rounds)$\(Base64.encode(salt, .adapted))$\(Base64.encode(hash.bytes, .adapted))"
    }

    /// Hashes a password at once, which takes a quarter of a second (600,000 rounds): for the command line.
    package static func make(_ password: [UInt8], salt: [UInt8], rounds: Int = usualRounds) -> PasswordHash {
        var check = PasswordCheck(password.span, salt: salt, rounds: rounds)
        _ = check.advance(by: rounds)
        return PasswordHash(rounds: rounds, salt: salt, hash: check.result)
    }
}

/// One password's hash under way: as many rounds at a time as its owner has time for.
package struct PasswordCheck: Sendable {
    /// The states after the padded key, from which each HMAC begins (RFC 2104 §4).
    private let inner: SHA256State
    private let outer: SHA256State
    private var last: Digest256
    private var sum: (UInt64, UInt64, UInt64, UInt64)
    private var left: Int

    package init(_ password: Span<UInt8>, salt: [UInt8], rounds: Int) {
        var key = [UInt8](repeating: 0, count: 64)
        if password.count > 64 {
            for (i, byte) in Digest256.sha256([], password).bytes.enumerated() { key[i] = byte }
        } else {
            for i in password.indices { key[i] = password[i] }
        }
        // Each array has a name: Swift 6.3.1 makes invalid code of the span of one that has none here.
        let innerKey = key.map { $0 ^ 0x36 }
        var inner = SHA256State()
        inner.update(innerKey.span)
        self.inner = inner
        let outerKey = key.map { $0 ^ 0x5C }
        var outer = SHA256State()
        outer.update(outerKey.span)
        self.outer = outer
        // The first block alone: it is as long as the hash.
        let block = salt + [0, 0, 0, 1]
        last = PasswordCheck.hmac(inner, outer) { $0.update(block.span) }
        sum = last.words
        left = max(0, rounds - 1)
    }

    /// Goes on for at most `rounds`. True once all are done.
    package mutating func advance(by rounds: Int) -> Bool {
        let now = min(left, max(0, rounds))
        var value = last
        var total = sum
        for _ in 0..<now {
            let before = value
            value = PasswordCheck.hmac(inner, outer) { $0.update(before) }
            total.0 ^= value.words.0
            total.1 ^= value.words.1
            total.2 ^= value.words.2
            total.3 ^= value.words.3
        }
        last = value
        sum = total
        left -= now
        return left == 0
    }

    /// The hash, once `advance` said that it is done.
    package var result: Digest256 { Digest256(words: sum) }

    private static func hmac(_ inner: SHA256State, _ outer: SHA256State, _ message: (inout SHA256State) -> Void) -> Digest256 {
        var first = inner
        message(&first)
        var second = outer
        second.update(first.finish())
        return second.finish()
    }
}
