// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The file of an `api_key` filter: consumers, each with keys. Keys stand there as their SHA-256 alone, as `holdfast hash key` prints it.
///
///     consumers:
///       - name: reporting
///         keys:
///           - { sha256: 9f86d081884c7d65…, label: laptop, expires: 2027-01-01 }
public struct KeysFile: Equatable, Sendable {
    public struct Key: Equatable, Sendable {
        /// 64 hexadecimal digits in lower case.
        public var sha256 = ""
        public var label: String?
        /// Unix seconds from which on it no longer counts.
        public var expires: Int64?
    }

    public struct Consumer: Equatable, Sendable {
        public var name = ""
        public var keys: [Key] = []
    }

    public var consumers: [Consumer] = []

    /// Reads a file, with every complaint at its place. What stands in the place of a hash is never repeated: it may be a key.
    public static func load(path: String) throws(ConfigurationErrors) -> KeysFile {
        try CredentialFile.load(path, table, from: KeysFile())
    }

    static var table: Table<KeysFile> {
        Table(
            name: "Keys file", documentation: "Consumers and their keys.",
            fields: [Field("consumers", \.consumers, Consumer.kind.list(), required: true, "Who has keys.")])
    }
}

extension KeysFile.Consumer {
    fileprivate static var kind: Kind<Self> {
        Table<Self>(
            name: "Consumer", documentation: "Somebody who has keys.",
            fields: [
                Field(
                    "name", \.name,
                    Kind<String>.consumerName.checked { name, node, reader in reader.claim("consumer", name, at: node.position) },
                    required: true, "What logs, limits and the upstream call it."),
                Field(
                    "keys", \.keys, KeysFile.Key.kind.list(), required: true,
                    "Several, so that one can be replaced while another works."),
            ]
        ).kind(Self())
    }
}

extension KeysFile.Key {
    fileprivate static var kind: Kind<Self> {
        Table<Self>(
            name: "Key", documentation: "One key of a consumer.",
            fields: [
                Field(
                    "sha256", \.sha256,
                    Kind<String>.hash.checked { hash, node, reader in reader.claim("key", hash, at: node.position) },
                    required: true, "The SHA-256 of the key in hexadecimal digits."),
                Field("label", \.label, Kind<String>.name.optional(none: "none"), "Which key this is."),
                Field(
                    "expires", \.expires, Kind<Int64>.day.optional(none: "never"),
                    "The first day on which it does not count, or a moment: `2027-01-01`, `2027-01-01T12:00:00Z`."),
            ]
        ).kind(Self())
    }
}

/// The file of a `basic` filter.
///
///     users:
///       - { name: ann, password: "$pbkdf2-sha256$600000$…$…" }
public struct UsersFile: Equatable, Sendable {
    public struct User: Equatable, Sendable {
        public var name = ""
        /// As `holdfast hash password` prints it.
        public var password = ""
    }

    public var users: [User] = []

    public static func load(path: String) throws(ConfigurationErrors) -> UsersFile {
        try CredentialFile.load(path, table, from: UsersFile())
    }

    static var table: Table<UsersFile> {
        Table(
            name: "Users file", documentation: "Users and their passwords' hashes.",
            fields: [Field("users", \.users, User.kind.list(), required: true, "Who has a password.")])
    }
}

extension UsersFile.User {
    fileprivate static var kind: Kind<Self> {
        Table<Self>(
            name: "User", documentation: "Somebody who has a password.",
            fields: [
                Field(
                    "name", \.name,
                    Kind<String>.consumerName.checked { name, node, reader in reader.claim("user", name, at: node.position) },
                    required: true, "Without a colon."),
                Field("password", \.password, .passwordHash, required: true, "The hash of the password."),
            ]
        ).kind(Self())
    }
}

enum CredentialFile {
    static func load<Root>(_ path: String, _ table: Table<Root>, from initial: Root) throws(ConfigurationErrors) -> Root {
        func failure(_ message: String) -> ConfigurationErrors {
            ConfigurationErrors([Complaint(file: path, position: nil, message: message)])
        }
        let bytes: [UInt8]
        do throws(FileProblem) {
            bytes = try FileReading.contents(of: path, atMost: YAMLComposer.maximumBytes + 1)
        } catch { throw failure("cannot be read: \(error)") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw failure("is not text in UTF-8") }
        var composer = YAMLComposer(file: path)
        guard let root = composer.compose(text) else { throw ConfigurationErrors(composer.complaints) }
        var reader = Reader(file: path, surroundings: .system)
        guard let value = table.read(root, &reader, from: initial), reader.complaints.isEmpty else {
            throw ConfigurationErrors(reader.complaints)
        }
        return value
    }
}

extension Kind where Value == String {
    /// What can stand in a field and in a log as it is.
    fileprivate static var consumerName: Kind {
        .text(
            meaning: "name", expected: "a name of up to 128 printable characters without a colon",
            problem: { text in
                (1...128).contains(text.utf8.count) && Words.isFieldValue(text) && !text.contains(":") ? nil : "is no such name"
            })
    }

    /// Never repeats what it reads.
    private static func secretive(_ kind: Kind, _ complaint: String) -> Kind {
        var result = kind
        result.read = { node, reader in
            if case .scalar(let text, _) = node.content, !node.isNull {
                var quiet = Reader(file: "", surroundings: .assumed)
                if kind.read(node, &quiet) == nil {
                    _ = text
                    reader.complain(at: node.position, complaint)
                    return nil
                }
            }
            return kind.read(node, &reader)
        }
        return result
    }

    fileprivate static var hash: Kind {
        secretive(
            Kind.text(
                pattern: "^[0-9A-Fa-f]{64}$", meaning: "SHA-256 in hexadecimal digits", expected: "64 hexadecimal digits",
                problem: { $0.utf8.count == 64 && $0.utf8.allSatisfy(isHexadecimal) ? nil : "is no hash" }
            ).map({ $0.lowercased() }, back: { $0 }),
            "is no SHA-256 of 64 hexadecimal digits; a key itself must not stand here: `holdfast hash key` makes one and its hash")
    }

    fileprivate static var passwordHash: Kind {
        secretive(
            Kind.text(
                pattern: "^\\$pbkdf2-sha256\\$[0-9]+\\$[A-Za-z0-9./]+\\$[A-Za-z0-9./]+$", meaning: "hash",
                expected: "a hash that begins with $pbkdf2-sha256$",
                problem: { text in
                    let parts = text.split(separator: "$", omittingEmptySubsequences: false)
                    return parts.count == 5 && parts[0].isEmpty && parts[1] == "pbkdf2-sha256" ? nil : "is no hash"
                }),
            "is no $pbkdf2-sha256$ hash; a password itself must not stand here: `holdfast hash password` makes its hash")
    }
}

extension Kind where Value == Int64 {
    /// A day or a moment in UTC, as Unix seconds (RFC 3339, without fractions and offsets).
    fileprivate static var day: Kind {
        .scalar(
            .scalar(
                .string, pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$",
                meaning: "day or moment, as `2027-01-01` or `2027-01-01T12:00:00Z`"),
            expected: "a day such as 2027-01-01, or a moment such as 2027-01-01T12:00:00Z", text: { _ in nil }
        ) { text throws(ScalarProblem) in
            guard let seconds = Moment.unixSeconds(text) else { throw ScalarProblem("is no day") }
            return seconds
        }
    }
}

enum Moment {
    static func unixSeconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count == 10 || bytes.count == 20 else { return nil }
        for (i, expected) in Array("0000-00-00T00:00:00Z".utf8).prefix(bytes.count).enumerated() {
            let isDigit = (48...57).contains(bytes[i])
            guard expected == 48 ? isDigit : bytes[i] == expected else { return nil }
        }
        func number(_ start: Int, _ count: Int) -> Int64 { bytes[start..<(start + count)].reduce(0) { $0 * 10 + Int64($1 - 48) } }
        let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2))
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard year >= 1970, (1...12).contains(month), (1...lengths[Int(month) - 1]).contains(day) else { return nil }
        // Days since 1970-01-01 in the proleptic Gregorian calendar.
        let before = year - 1
        let days =
            before * 365 + before / 4 - before / 100 + before / 400 - 719_162 + lengths[..<(Int(month) - 1)].reduce(0, +) + day - 1
        if bytes.count == 10 { return days * 86_400 }
        let (hour, minute, second) = (number(11, 2), number(14, 2), number(17, 2))
        guard hour < 24, minute < 60, second < 60 else { return nil }
        return days * 86_400 + hour * 3_600 + minute * 60 + second
    }
}
