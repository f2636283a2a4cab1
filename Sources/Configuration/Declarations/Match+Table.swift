// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration.Match {
    static var table: Table<Self> {
        Table(
            name: "Match", documentation: "What a request must have; what is not written is not asked.",
            fields: [
                Field(
                    "host", \.hosts, Kind.host.oneOrMany(), initial: "any",
                    "A host name, `*.example.com` for every name below it, or a list of both. Quote what begins with `*`."),
                Field(
                    "path", \.path, Kind<Configuration.PathPattern>.path.optional(none: "any"),
                    "`/exact`; `/prefix/*` by whole segments (`/prefix` too); `/users/{id}` with one segment for each parameter; or `/users/{id}/*`."
                ),
                Field("methods", \.methods, Kind.method.list(atLeast: 1), initial: "any", "Any of these."),
                Field(
                    "headers", \.headers, .matches(of: .fieldName), initial: "any",
                    "Field names and their whole value, or `present` (`\"present\"` in quotes is that value). All must match."),
                Field(
                    "query", \.query, .matches(of: Kind<String>.text(meaning: "parameter", expected: "the name of a parameter")),
                    initial: "any", "The same for query parameters."),
            ])
    }
}

extension Kind where Value == Configuration.HostPattern {
    fileprivate static var host: Kind {
        .scalar(
            .scalar(.string, pattern: #"^(\*\.)?[A-Za-z0-9_.-]+$|^\[[0-9A-Fa-f:.]+\]$"#, meaning: "host"),
            expected: "a host such as api.example.com or \"*.example.com\", without a port",
            text: \.description
        ) { text throws(ScalarProblem) in
            let name = text.lowercased()
            if name.hasPrefix("["), name.hasSuffix("]"), let address = IPAddress(name.dropFirst().dropLast()), !address.isIPv4 {
                return .exact("[\(address)]")
            }
            if name.contains(":") { throw ScalarProblem("has a port") }
            let isWildcard = name.hasPrefix("*.")
            let rest = isWildcard ? String(name.dropFirst(2)) : name
            guard Words.isHostName(rest) else { throw ScalarProblem("is no host") }
            return isWildcard ? .below(rest) : .exact(rest)
        }
    }
}

extension Kind where Value == Configuration.PathPattern {
    static var path: Kind {
        .scalar(
            .scalar(.string, pattern: "^/", meaning: "path pattern"), expected: "a path such as /exact, /prefix/* or /users/{id}",
            text: \.description
        ) { text throws(ScalarProblem) in
            do throws(Configuration.PatternError) {
                return try Configuration.PathPattern(text)
            } catch {
                throw ScalarProblem("is no path: \(error)")
            }
        }
    }
}

extension Kind where Value == String {
    /// A path of literal segments, without a slash at its end.
    static var literalPath: Kind {
        .text(
            pattern: "^/", meaning: "path", expected: "a literal path such as /api",
            problem: { text in
                do throws(Configuration.PatternError) {
                    let path = try Configuration.PathPattern(text)
                    return path.matchesRest || !path.parameterNames.isEmpty || text.hasSuffix("/") ? "is no literal path" : nil
                } catch {
                    return "is no path: \(error)"
                }
            })
    }
}

extension Kind where Value == [Configuration.FieldMatch] {
    /// Names and what they must be.
    fileprivate static func matches(of name: Kind<String>) -> Kind {
        let value = Kind<String>.text(meaning: "value, or `present`", expected: "a value, or present")
        return .byName(name, value: value) { name, value, isPlain in
            Configuration.FieldMatch(name: name, value: value == "present" && isPlain ? nil : value)
        }
    }
}

extension Kind where Value == [Configuration.HeaderField] {
    /// Fields of an answer; framing is the gateway's business.
    static var fields: Kind {
        let framing = [
            "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te", "trailer", "date", "via",
        ]
        let name = Kind<String>.fieldName.checked { name, node, reader in
            if framing.contains(name) { reader.complain(at: node.position, "the field \(name) is set by the gateway itself") }
        }
        return .byName(name, value: .fieldValue) { name, value, _ in Configuration.HeaderField(name: name, value: value) }
    }
}

extension Kind {
    /// A mapping of names, which the user chooses, to single values.
    static func byName<Element, Content>(
        _ name: Kind<String>, value: Kind<Content>,
        make: @escaping (_ name: String, _ value: Content, _ isPlain: Bool) -> Element
    ) -> Kind where Value == [Element] {
        var pattern = ".+"
        if case .scalar(_, let given?, _, _, _) = name.shape { pattern = given }
        return Kind(
            shape: .names(value.shape, pattern: pattern, meaning: name.shape.meaning),
            read: { node, reader in
                guard case .mapping(let entries) = node.content else {
                    let found = node.isNull ? "has no value" : "is \(node.kindName)"
                    reader.complain(at: node.position, "\(found); expected a mapping of names to values")
                    return nil
                }
                var lines: [String: Int] = [:]
                return entries.compactMap { entry in
                    let key = YAML(content: .scalar(entry.key, isPlain: true), position: entry.keyPosition, size: 1, height: 1)
                    guard let readName = name.read(key, &reader) else { return nil }
                    if let line = lines[readName] {
                        reader.complain(at: entry.keyPosition, "the name \(quoted(readName)) already stands on line \(line)")
                        return nil
                    }
                    lines[readName] = entry.keyPosition.line
                    return reader.at(.key(entry.key)) { reader in
                        guard let readValue = value.read(entry.value, &reader) else { return nil }
                        var isPlain = false
                        if case .scalar(_, let plain) = entry.value.content { isPlain = plain }
                        return make(readName, readValue, isPlain)
                    }
                }
            }, text: { _ in nil })
    }
}

extension Kind where Value == Configuration.TextTemplate {
    /// Where a redirect leads.
    static var target: Kind {
        .scalar(
            .scalar(.string, pattern: "^(/|https?://)", meaning: "URL or path, with places"),
            expected: "a URL or a path such as https://{host}{path}{query}", text: \.description
        ) { text throws(ScalarProblem) in
            guard text.hasPrefix("/") || text.hasPrefix("http://") || text.hasPrefix("https://") else {
                throw ScalarProblem("is no URL or path")
            }
            guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) else {
                throw ScalarProblem("holds characters that stand in no URL")
            }
            do throws(Configuration.PatternError) {
                return try Configuration.TextTemplate(text)
            } catch {
                throw ScalarProblem("is no template: \(error)")
            }
        }
    }
}

extension Kind where Value == Int {
    /// One of a few statuses.
    static func status(_ allowed: [Int]) -> Kind {
        let words = allowed.map { String($0) }
        return .scalar(.choice(words), expected: "one of " + words.joined(separator: ", "), text: { String($0) }) {
            text throws(ScalarProblem) in
            guard let status = Int(text), allowed.contains(status) else { throw ScalarProblem("is no such status") }
            return status
        }
    }
}
