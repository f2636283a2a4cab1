// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Kind where Value == Bool {
    static var boolean: Kind {
        .scalar(.scalar(.boolean, meaning: "`true` or `false`"), expected: "true or false", text: { String($0) }) {
            text throws(ScalarProblem) in
            switch text {
            case "true": return true
            case "false": return false
            case "yes", "on", "True", "TRUE": throw ScalarProblem("is no truth value; did you mean true?")
            case "no", "off", "False", "FALSE": throw ScalarProblem("is no truth value; did you mean false?")
            default: throw ScalarProblem("is no truth value")
            }
        }
    }
}

extension Kind where Value: CaseIterable & RawRepresentable<String> {
    /// One of the words of an enumeration.
    static var choice: Kind {
        let words = Value.allCases.map(\.rawValue)
        return .scalar(.choice(words), expected: "one of " + words.joined(separator: ", "), text: { $0.rawValue }) {
            text throws(ScalarProblem) in
            if let value = Value(rawValue: text) { return value }
            throw ScalarProblem("is not known" + (nearestName(to: text, among: words).map { "; did you mean \($0)?" } ?? ""))
        }
    }
}

extension Kind where Value == String {
    /// Text that `problem` finds nothing against.
    static func text(
        pattern: String? = nil, meaning: String, expected: String, problem: @escaping (String) -> String? = { _ in nil }
    ) -> Kind {
        .scalar(.scalar(.string, pattern: pattern, meaning: meaning), expected: expected, text: { $0 }) {
            text throws(ScalarProblem) in
            if let problem = problem(text) { throw ScalarProblem(problem) }
            return text
        }
    }

    /// What listeners, upstreams and routes are called: it stands in logs and as a metric's label.
    static var name: Kind {
        .text(
            pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", meaning: "name",
            expected: "a name of up to 63 letters, digits, '-', '_' and '.' that begins with a letter or a digit",
            problem: { Words.isName($0) ? nil : "is no name" })
    }

    /// A file that must be readable; a relative path starts at the configuration's folder.
    static var readableFile: Kind {
        let path = Kind.text(meaning: "path of a file", expected: "the path of a file")
        var result = path
        result.read = { node, reader in
            guard let written = path.read(node, &reader) else { return nil }
            let resolved = reader.resolved(written)
            if let problem = reader.surroundings.fileProblem(resolved) {
                reader.complain(at: node.position, "the file \(quoted(resolved)) cannot be read: \(problem)")
                return nil
            }
            return resolved
        }
        return result
    }

    /// What a request of the gateway's own asks for.
    static var requestTarget: Kind {
        .text(
            pattern: "^/[!-\"$-~]*$", meaning: "path", expected: "a path such as /healthz, percent-encoded and without a fragment",
            problem: { Words.isRequestTarget($0) ? nil : "is no path" })
    }

    /// What a request of the gateway's own says in `Host`.
    static var authority: Kind {
        .text(
            meaning: "host name", expected: "a host name such as users.internal, perhaps with a port",
            problem: { Words.isAuthority($0) ? nil : "is no host name" })
    }

    /// A field name (RFC 9110 §5.1), given back in lower case.
    static var fieldName: Kind {
        Kind.text(
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", meaning: "field name", expected: "a field name of letters, digits and '-'",
            problem: { Words.isToken($0) ? nil : "is no field name" }
        ).map({ $0.lowercased() }, back: { $0 })
    }

    /// The value of a field that is sent.
    static var fieldValue: Kind {
        .text(
            meaning: "field value", expected: "a field value without control characters or spaces around it",
            problem: { Words.isFieldValue($0) ? nil : "is no field value" })
    }

    static var method: Kind {
        .text(
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", meaning: "method", expected: "a method such as GET",
            problem: { text in
                if !Words.isToken(text) { return "is no method" }
                if text == "CONNECT" || text == "TRACE" { return "is refused by the gateway" }
                // Case matters (RFC 9110 §9.1), so a lower-case method would match nothing that anybody sends.
                return text == text.uppercased() ? nil : "is in lower case; did you mean \(text.uppercased())?"
            })
    }

    /// The name of an upstream that the file must define.
    static var upstream: Kind {
        Kind.name.checked { name, node, reader in reader.refer(toUpstream: name, at: node.position) }.described(
            "name of an upstream")
    }

    private func described(_ meaning: String) -> Kind {
        var result = self
        if case .scalar(let type, let pattern, let minimum, let maximum, _) = shape {
            result.shape = .scalar(type, pattern: pattern, minimum: minimum, maximum: maximum, meaning: meaning)
        }
        return result
    }
}

/// Which texts are names, tokens and field values.
enum Words {
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= 63 else { return false }
        return text.utf8.allSatisfy {
            isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
        }
    }

    /// RFC 9110 §5.6.2.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
    }

    /// RFC 9110 §5.5, without obs-text.
    static func isFieldValue(_ text: String) -> Bool {
        func isBlank(_ byte: UInt8?) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        return !isBlank(text.utf8.first) && !isBlank(text.utf8.last)
            && text.utf8.allSatisfy { $0 == UInt8(ascii: "\t") || (0x20...0x7E).contains($0) }
    }

    static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }

    /// A path and perhaps a query, as a request line can carry it (RFC 9112 §3.2.1).
    static func isRequestTarget(_ text: some StringProtocol) -> Bool {
        text.utf8.first == UInt8(ascii: "/") && text.utf8.count <= 2_048
            && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "#") }
    }

    /// A DNS name: labels of letters, digits, `-` and `_`.
    static func isHostName(_ text: some StringProtocol) -> Bool {
        guard text.utf8.count <= 253 else { return false }
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
        }
    }

    /// A host name or address, perhaps with a port (RFC 9110 §7.2).
    static func isAuthority(_ text: String) -> Bool {
        var host = text[...]
        if let colon = text.lastIndex(of: ":"), text.last != "]" {
            let port = text[text.index(after: colon)...]
            guard port.utf8.allSatisfy({ (0x30...0x39).contains($0) }), UInt16(port) != nil else { return false }
            host = text[..<colon]
        }
        guard host.first == "[", host.last == "]" else { return isHostName(host) }
        return IPAddress(host.dropFirst().dropLast()).map { !$0.isIPv4 } ?? false
    }
}
