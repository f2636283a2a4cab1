// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import JSON

extension Configuration {
    /// Asks several upstreams and makes one JSON document of their answers, in place of the route's own upstream.
    public struct AggregateFilter: Equatable, Sendable {
        package var parts: [Part] = []
        /// The member that says whether every part is there; `nil` is `off`.
        public var complete: String? = "complete"
        /// The member that says which parts are missing and why, where any is; `nil` is `off`.
        public var missing: String? = "missing"
        /// Over all parts. Default: each has its own.
        public var timeout: Duration?
        /// Of all answers together, and of the document. Default 4 MiB.
        public var maximumBytes = 4 << 20
        public var cacheControl = "no-store"

        public init() {}

        /// One request to one upstream, and where its answer goes.
        package struct Part: Equatable, Sendable {
            package var name = ""
            package var upstream = ""
            package var path = PartTemplate()
            /// In place of what the client sent under these names.
            package var headers: [Header] = []
            package var timeout: Duration?
            package var isRequired = true
            /// JSON text in place of a part that is missing.
            package var fallback: [UInt8]?
            package var notFound = NotFound.fail
            /// What is taken of its answer.
            package var take = JSONPath()
            package var placement = Placement.group("")
            package var maximumBytes = 1 << 20
            /// Parts that must have ended before.
            package var after: [String] = []

            package init() {}
        }

        package struct Header: Equatable, Sendable {
            package var name: String
            package var value: PartTemplate
        }

        /// What a 404 of a part means.
        package enum NotFound: String, CaseIterable, Sendable {
            /// What any other failure means.
            case fail
            /// There is nothing, and that is an answer: the default or no member, and the document is complete.
            case absent
        }

        package enum Placement: Equatable, Sendable {
            /// A member of the document.
            case group(String)
            /// Its members are the document's.
            case flatten
            case join(Join)
        }

        /// Goes into the elements of another part's list, by a key that both have.
        package struct Join: Equatable, Sendable {
            package var into = ""
            /// The list in that part.
            package var list = JSONPath()
            /// The key in the list's elements.
            package var on = JSONPath()
            /// The key in the elements of this part.
            package var key = JSONPath()
            /// The member that the elements get.
            package var member = ""

            package init() {}
        }

        var templates: [ValueTemplate] { parts.flatMap { [$0.path] + $0.headers.map(\.value) }.flatMap(\.templates) }
    }

    /// Text with variables of the request, and with values of earlier parts: `/products?ids={part.orders.items[*].product}`.
    package struct PartTemplate: Hashable, Sendable, CustomStringConvertible {
        package enum Piece: Hashable, Sendable {
            case text(ValueTemplate)
            case part(Reference)
        }

        package struct Reference: Hashable, Sendable {
            package var part: String
            /// The list whose elements are meant, all of them; `nil`: one value is.
            package var list: JSONPath?
            /// From the list's elements, or from the part.
            package var item: JSONPath
        }

        package var pieces: [Piece] = []
        package var description = ""

        package init() {}

        package init(_ text: String) throws(PatternError) {
            description = text
            var rest = text[...]
            while !rest.isEmpty {
                guard let start = PartTemplate.reference(in: rest) else {
                    pieces.append(.text(try ValueTemplate(String(rest))))
                    break
                }
                if start > rest.startIndex { pieces.append(.text(try ValueTemplate(String(rest[..<start])))) }
                guard let end = rest[start...].firstIndex(of: "}") else { throw PatternError("a { has no }; a brace itself is {{") }
                let inner = rest[rest.index(start, offsetBy: 6)..<end]
                pieces.append(.part(try PartTemplate.reference(String(inner))))
                rest = rest[rest.index(after: end)...]
            }
        }

        /// Where `{part.` begins that is no escaped brace.
        private static func reference(in text: Substring) -> Substring.Index? {
            var at = text.startIndex
            while at < text.endIndex {
                if text[at...].hasPrefix("{{") {
                    at = text.index(at, offsetBy: 2)
                } else if text[at...].hasPrefix("{part.") {
                    return at
                } else {
                    at = text.index(after: at)
                }
            }
            return nil
        }

        private static func reference(_ text: String) throws(PatternError) -> Reference {
            let end = text.firstIndex { $0 == "." || $0 == "[" } ?? text.endIndex
            let name = String(text[..<end])
            guard Words.isName(name) else { throw PatternError("{part.\(text)} names no part; expected {part.NAME.PATH}") }
            func path(_ text: some StringProtocol) throws(PatternError) -> JSONPath {
                let text = text.hasPrefix(".") ? String(text.dropFirst()) : String(text)
                if text.isEmpty { return JSONPath() }
                do throws(JSONPath.Mistake) {
                    return try JSONPath(parsing: text)
                } catch { throw PatternError("{part.\(name)…} has a path that is none: \(error)") }
            }
            let rest = text[end...]
            guard let star = PartTemplate.star(in: rest) else {
                return Reference(part: name, list: nil, item: try path(rest))
            }
            return Reference(part: name, list: try path(rest[..<star]), item: try path(rest[rest.index(star, offsetBy: 3)...]))
        }

        private static func star(in text: Substring) -> Substring.Index? {
            var at = text.startIndex
            while at < text.endIndex {
                if text[at...].hasPrefix("[*]") { return at }
                at = text.index(after: at)
            }
            return nil
        }

        var templates: [ValueTemplate] { pieces.compactMap { if case .text(let template) = $0 { template } else { nil } } }
        package var parts: [String] { pieces.compactMap { if case .part(let reference) = $0 { reference.part } else { nil } } }
    }
}

// MARK: The declaration

extension Configuration.AggregateFilter {
    static var kind: Kind<Self> {
        Table<Self>(
            name: "Aggregate filter",
            documentation:
                "Asks several upstreams, at once where it can and each through its guard, and answers GET and HEAD with one JSON document made of what they say. The route's own upstream is not asked.",
            fields: [
                Field(
                    "parts", \.parts, .parts, required: true,
                    "The requests, by name; the document has their answers in this order."),
                Field("complete", \.complete, Kind<String>.memberName.orOff(), "The member that says whether every part is there."),
                Field(
                    "missing", \.missing, Kind<String>.memberName.orOff(),
                    "The member that says which parts are missing and for what reason, where any is."),
                Field(
                    "timeout", \.timeout,
                    Kind.duration(.milliseconds(1) ... .seconds(3600)).optional(none: "none: each part has its own"),
                    "Over all parts; what is not there by then is missing."),
                Field("max_bytes", \.maximumBytes, .size(1...(1 << 27)), "Of all answers together, and of the document."),
                Field(
                    "cache_control", \.cacheControl, .fieldValue,
                    "What `Cache-Control` says of a complete document; one with a part missing is never to be stored."),
            ], check: check
        ).kind(Self())
    }

    private static func check(_ filter: Self, _ node: YAML, _ reader: inout Reader) {
        let place = node.position(of: [.key("parts")])
        if filter.parts.isEmpty { reader.complain(at: place, "has no part; expected at least one") }
        if filter.parts.count > 32 { reader.complain(at: place, "has \(filter.parts.count) parts; expected at most 32") }
        let names = filter.parts.map(\.name)
        var members: [String: String] = [:]
        if let complete = filter.complete { members[complete] = "complete" }
        if let missing = filter.missing {
            if members[missing] != nil {
                reader.complain(at: node.position(of: [.key("missing")]), "complete and missing have one name")
            }
            members[missing] = "missing"
        }
        for part in filter.parts {
            let place = node.position(of: [.key("parts"), .key(part.name)])
            func complain(_ key: String, _ message: String) {
                reader.complain(
                    at: node.position(of: [.key("parts"), .key(part.name), .key(key)]), "parts.\(part.name).\(key): \(message)")
            }
            for (key, referred) in part.references where !names.contains(referred) {
                let help =
                    nearestName(to: referred, among: names).map { "did you mean \($0)?" }
                    ?? "known are \(names.joined(separator: ", "))"
                complain(key, "there is no part \(quoted(referred)); \(help)")
            }
            switch part.placement {
            case .group(let member):
                if let other = members[member] {
                    reader.complain(
                        at: place, "parts.\(part.name): the member \(quoted(member)) is \(other)'s already; give it another with as"
                    )
                }
                members[member] = "the part \(part.name)"
            case .join(let join):
                if case .join? = filter.parts.first(where: { $0.name == join.into })?.placement {
                    complain("join", "\(join.into) is joined itself; expected a part that is in the document")
                }
            case .flatten: break
            }
        }
        if let circle = circle(filter.parts) {
            reader.complain(at: place, "these parts wait for each other: \(circle.joined(separator: ", "))")
        }
    }

    /// Parts that can never start.
    private static func circle(_ parts: [Part]) -> [String]? {
        let names = Set(parts.map(\.name))
        var ended: Set<String> = []
        var left = parts
        while !left.isEmpty {
            let ready = left.filter { part in part.waitsFor.allSatisfy { ended.contains($0) || !names.contains($0) } }
            if ready.isEmpty { return left.map(\.name) }
            ended.formUnion(ready.map(\.name))
            left.removeAll { ended.contains($0.name) }
        }
        return nil
    }
}

extension Configuration.AggregateFilter.Part {
    /// Parts that must have ended before this one starts.
    package var waitsFor: Set<String> { Set(after + path.parts + headers.flatMap(\.value.parts)) }

    /// Every part that this one names, with the key that does.
    fileprivate var references: [(key: String, part: String)] {
        var found =
            after.map { ("after", $0) } + path.parts.map { ("path", $0) } + headers.flatMap(\.value.parts).map { ("headers", $0) }
        if case .join(let join) = placement { found.append(("join", join.into)) }
        return found
    }

    private enum Merge: String, CaseIterable { case group, flatten }

    private struct Draft {
        var part = Configuration.AggregateFilter.Part()
        var required: Bool?
        var merge = Merge.group
        var member: String?
        var join: Configuration.AggregateFilter.Join?
    }

    fileprivate static var kind: Kind<Self> {
        let table = Table<Draft>(
            name: "Aggregate filter part", documentation: "One request to one upstream, and where its answer goes.",
            fields: [
                Field("to", \.part.upstream, .upstream, required: true, "The upstream that is asked."),
                Field(
                    "path", \.part.path, .partPath, required: true,
                    "Path and query, with variables of the request (`{param.id}`, `{query.page}`, …) and values of other parts' answers, which are then waited for: `{part.user.id}`, and `{part.orders.items[*].product}` for all of a list, each once, between commas."
                ),
                Field(
                    "headers", \.part.headers, .partHeaders, initial: "none",
                    "Fields in place of what the client sent under these names."),
                Field(
                    "after", \.part.after, Kind<String>.name.list(),
                    "Parts that must have ended before, beside those whose values are used."),
                Field(
                    "timeout", \.part.timeout, Kind.duration(.milliseconds(1) ... .seconds(3600)).optional(none: "the upstream's"),
                    "Over all attempts, if that is less than the upstream's own."),
                Field(
                    "required", \.required, Kind.boolean.optional(none: "true, or false with a default"),
                    "Whether there is no document without it: the client then gets 502, 503 or 504 with this part's reason."),
                Field(
                    "default", \.part.fallback, Kind<[UInt8]>.jsonText.optional(none: "none: no member"),
                    "What stands for it where it is missing."),
                Field(
                    "not_found", \.part.notFound, .choice,
                    "What a 404 means: a failure like others, or that there is nothing: the default or no member, and nothing is missing."
                ),
                Field("take", \.part.take, Kind<JSONPath>.jsonPath, initial: "`$`, all of it", "What is taken of its answer."),
                Field(
                    "merge", \.merge, .choice,
                    "A member of the document, or all of its members in the document itself; of two with one name the earlier part's stays."
                ),
                Field("as", \.member, Kind<String>.memberName.optional(none: "its own name"), "The member's name in the document."),
                Field(
                    "join", \.join, Configuration.AggregateFilter.Join.kind.optional(none: "none"),
                    "Puts its elements into those of another part, by a key."),
                Field("max_bytes", \.part.maximumBytes, .size(1...(1 << 26)), "A longer answer counts as missing."),
            ])
        return Kind(
            shape: table.shape(Draft()),
            read: { node, reader in
                guard let draft = table.read(node, &reader, from: Draft()) else { return nil }
                var part = draft.part
                if draft.required == true, part.fallback != nil {
                    reader.complain(at: node.position(of: [.key("required")]), "required and default exclude each other")
                }
                part.isRequired = draft.required ?? (part.fallback == nil)
                if let join = draft.join {
                    for key in ["merge", "as"] where node.has([.key(key)]) {
                        reader.complain(at: node.position(of: [.key(key)]), "\(key) has no meaning beside join")
                    }
                    part.placement = .join(join)
                } else if draft.merge == .flatten {
                    if node.has([.key("as")]) {
                        reader.complain(at: node.position(of: [.key("as")]), "as has no meaning with merge: flatten")
                    }
                    part.placement = .flatten
                } else {
                    part.placement = .group(draft.member ?? "")
                }
                return part
            }, text: { _ in nil })
    }
}

extension Configuration.AggregateFilter.Join {
    fileprivate static var kind: Kind<Self> {
        Table<Self>(
            name: "Aggregate filter join",
            documentation:
                "Puts the elements of this part into the elements of a list of another part, where a key is the same in both. This part is a list of objects with the key, or one object whose members' names are the keys.",
            fields: [
                Field("into", \.into, .name, required: true, "The other part."),
                Field("list", \.list, Kind<JSONPath>.jsonPath.checked(namesOnly), initial: "`$`, the part itself", "Its list."),
                Field("on", \.on, .jsonPath, required: true, "The key in that list's elements."),
                Field("key", \.key, .jsonPath, initial: "`$`", "The key in this part's elements."),
                Field("as", \.member, .memberName, required: true, "The member that the elements get."),
            ]
        ).kind(Self())
    }

    private static func namesOnly(_ path: JSONPath, _ node: YAML, _ reader: inout Reader) {
        for step in path.steps {
            if case .position = step {
                reader.complain(at: node.position, "has a position; expected names only")
                return
            }
        }
    }
}

extension Kind where Value == [Configuration.AggregateFilter.Part] {
    fileprivate static var parts: Kind {
        let kind = byName(Kind<String>.name, value: Configuration.AggregateFilter.Part.kind) { name, part, _ in
            var part = part
            part.name = name
            if case .group("") = part.placement { part.placement = .group(name) }
            return part
        }
        return kind
    }
}

extension Kind where Value == [Configuration.AggregateFilter.Header] {
    fileprivate static var partHeaders: Kind {
        byName(Kind<String>.fieldName, value: .partTemplate) { name, value, _ in
            Configuration.AggregateFilter.Header(name: name, value: value)
        }.checked { headers, node, reader in
            let framing = [
                "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
                "via",
            ]
            for header in headers where framing.contains(header.name) {
                reader.complain(at: node.position, "\(header.name) is the gateway's own to write")
            }
        }
    }
}

extension Kind where Value == Configuration.PartTemplate {
    fileprivate static var partTemplate: Kind {
        .scalar(
            .scalar(.string, meaning: "text, with `{variables}`"),
            expected: "text, perhaps with variables such as {header.x-name} or {part.user.id}", text: \.description
        ) { text throws(ScalarProblem) in
            do throws(Configuration.PatternError) {
                return try Configuration.PartTemplate(text)
            } catch { throw ScalarProblem("is no template: \(error)") }
        }
    }

    fileprivate static var partPath: Kind {
        .scalar(
            .scalar(.string, pattern: "^/", meaning: "path, with `{variables}`"),
            expected: "a path such as /users/{param.id} or /products?ids={part.orders.items[*].product}", text: \.description
        ) { text throws(ScalarProblem) in
            guard text.hasPrefix("/"), !text.hasPrefix("//") else { throw ScalarProblem("is no path") }
            do throws(Configuration.PatternError) {
                let template = try Configuration.PartTemplate(text)
                let literals = template.templates.flatMap(\.pieces).compactMap {
                    if case .literal(let text) = $0 { text } else { nil }
                }
                guard literals.allSatisfy({ $0.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "#") } }) else {
                    throw Configuration.PatternError("it has characters that a path has as escapes only")
                }
                return template
            } catch { throw ScalarProblem("is no path: \(error)") }
        }
    }
}

extension Kind where Value == String {
    /// The name of a member of a JSON document.
    fileprivate static var memberName: Kind {
        .text(meaning: "member name", expected: "the name of a member of the document", problem: { $0.isEmpty ? "is empty" : nil })
    }
}
