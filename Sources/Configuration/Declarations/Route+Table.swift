// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension Configuration.Route {
    /// A route as the file has it: each action has a key of its own.
    private struct Draft {
        var name: String?
        var match = Configuration.Match()
        var upstream: String?
        var split: [Configuration.WeightedUpstream]?
        var redirect: Configuration.Redirect?
        var answer: Configuration.Answer?
        var stripPrefix: String?
        var rewrite: Configuration.PathPattern?
        var fallback: Configuration.Fallback?
        var timeouts = Configuration.TimeoutOverrides()
        var retries = Configuration.RetryOverrides()
        var idempotent = false
        var priority = Priority.critical
        var allowEncodedSlash = false
        var filters: [Configuration.Filter] = []

        var action: Action? {
            if let upstream { return .upstream(upstream) }
            if let split { return .split(split) }
            if let redirect { return .redirect(redirect) }
            return answer.map { .answer($0) }
        }
    }

    static var kind: Kind<Self> {
        let table = Self.table
        let shape = table.shape(Draft())
        return Kind(
            shape: shape,
            read: { node, reader in
                guard let draft = table.read(node, &reader, from: Draft()), let action = draft.action else { return nil }
                var route = Self(match: draft.match, action: action)
                route.name = draft.name
                route.stripPrefix = draft.stripPrefix
                route.rewrite = draft.rewrite
                route.fallback = draft.fallback
                route.timeouts = draft.timeouts
                route.retries = draft.retries
                route.idempotent = draft.idempotent
                route.priority = draft.priority
                route.allowEncodedSlash = draft.allowEncodedSlash
                route.filters = draft.filters
                return route
            }, text: { _ in nil })
    }

    private static var table: Table<Draft> {
        Table(
            name: "Route", documentation: "Which requests, and what becomes of them.", fields: matching + actions + sending,
            exactlyOne: ["to", "split", "redirect", "answer"], check: check)
    }

    private static var matching: [Field<Draft>] {
        [
            Field(
                "name", \.name,
                Kind.name.checked { name, node, reader in reader.claim("route name", name, at: node.position) }.optional(
                    none: "its path"),
                "Its label in logs and metrics."),
            Field(
                "match", \.match, Configuration.Match.table.kind(Configuration.Match()), required: true,
                "What a request must have. `{ path: /* }` takes every request."),
        ]
    }

    private static var actions: [Field<Draft>] {
        [
            Field("to", \.upstream, Kind.upstream.optional(none: nil), "Sends the request to an upstream."),
            Field(
                "split", \.split, Configuration.WeightedUpstream.kind.list(atLeast: 1).checked(checkSplit).optional(none: nil),
                "Sends it to one of several upstreams, by weight."),
            Field(
                "redirect", \.redirect,
                Configuration.Redirect.table.kind(Configuration.Redirect(to: .init(pieces: []))).optional(none: nil),
                "Sends the client elsewhere."),
            Field(
                "answer", \.answer, Configuration.Answer.table.kind(Configuration.Answer()).optional(none: nil),
                "Answers by itself."),
        ]
    }

    private static var sending: [Field<Draft>] {
        [
            Field(
                "strip_prefix", \.stripPrefix, Kind.literalPath.optional(none: nil),
                "Cut off from the path before the request is sent on; the match's path begins with it."),
            Field(
                "rewrite", \.rewrite, Kind<Configuration.PathPattern>.path.optional(none: nil),
                "The path that is sent on, with the match's `{parameters}` and its rest (`/*`) filled in."),
            Field(
                "fallback", \.fallback, Configuration.Fallback.kind.optional(none: "none: the gateway says why"),
                "What clients get when the upstream cannot serve them; `X-Holdfast-Reason` and the log say why."),
            Field(
                "timeouts", \.timeouts, Configuration.TimeoutOverrides.table.kind(Configuration.TimeoutOverrides()),
                "Timeouts of this route in place of the upstream's."),
            Field(
                "retries", \.retries, Configuration.RetryOverrides.table.kind(Configuration.RetryOverrides()),
                "What is tried again of this route's requests in place of what the upstream says."),
            Field("idempotent", \.idempotent, .boolean, "Whether every method of this route may be tried again like PUT."),
            Field(
                "priority", \.priority, .choice,
                "Who goes first when an upstream has no room at once: `bulk` from half full on, `normal` from 75%, `high` from 90%. A trusted network can say another in `X-Holdfast-Priority`."
            ),
            Field(
                "allow_encoded_slash", \.allowEncodedSlash, .boolean,
                "Whether `%2F` in a path is passed on as it is; else such a request is refused."),
            Field(
                "filters", \.filters, Configuration.Filter.listKind,
                "What is done with the requests on their way and with their answers: checks, limits, changes."),
        ]
    }

    private static func checkSplit(_ parts: [Configuration.WeightedUpstream], _ node: YAML, _ reader: inout Reader) {
        if !parts.isEmpty, parts.allSatisfy({ $0.weight == 0 }) {
            reader.complain(at: node.position, "all weights are 0; expected at least one above")
        }
    }

    /// What concerns several keys of a route.
    private static func check(_ route: Draft, _ node: YAML, _ reader: inout Reader) {
        reader.claim("match", route.match, at: node.position(of: [.key("match")]))
        let parameters = route.match.path?.parameterNames ?? []
        let isProxied = route.upstream != nil || route.split != nil
        Configuration.Filter.check(
            route.filters, parameters: parameters, at: node.position(of: [.key("filters")]), &reader)
        if route.upstream == nil, route.filters.contains(where: { $0.kind == "canary" }) {
            reader.complain(at: node.position(of: [.key("filters")]), "canary is for routes with one upstream (to)")
        }
        for (key, isSet) in [
            ("strip_prefix", route.stripPrefix != nil), ("rewrite", route.rewrite != nil), ("fallback", route.fallback != nil),
        ]
        where isSet && !isProxied {
            reader.complain(at: node.position(of: [.key(key)]), "\(key) has a meaning only with to or split")
        }
        if case .upstream(let name) = route.fallback?.action,
            name == route.upstream || route.split?.contains(where: { $0.upstream == name }) == true
        {
            reader.complain(
                at: node.position(of: [.key("fallback"), .key("to")]),
                "\(name) is what this route falls back from; expected another upstream")
        }
        if route.rewrite != nil, route.stripPrefix != nil {
            reader.complain(at: node.position(of: [.key("strip_prefix")]), "strip_prefix and rewrite exclude each other")
        }
        if let prefix = route.stripPrefix, !begins(route.match.path, with: prefix) {
            let path = route.match.path.map { "\($0)" } ?? "no path"
            reader.complain(
                at: node.position(of: [.key("strip_prefix")]), "the match has \(path), which does not begin with \(prefix)")
        }
        if let rewrite = route.rewrite {
            let place = node.position(of: [.key("rewrite")])
            complain(aboutUnknown: rewrite.parameterNames, among: parameters, at: place, &reader)
            if rewrite.matchesRest, route.match.path?.matchesRest == false {
                reader.complain(at: place, "the match's path has no rest (/*) to fill in")
            }
        }
        if let redirect = route.redirect {
            complain(
                aboutUnknown: redirect.to.variableNames, among: ["host", "path", "query", "rest"] + parameters,
                at: node.position(of: [.key("redirect"), .key("to")]), &reader)
        }
    }

    private static func begins(_ path: Configuration.PathPattern?, with prefix: String) -> Bool {
        guard let path, let wanted = try? Configuration.PathPattern(prefix) else { return false }
        return path.segments.starts(with: wanted.segments)
    }

    private static func complain(aboutUnknown names: [String], among known: [String], at position: Position, _ reader: inout Reader)
    {
        for name in names where !known.contains(name) {
            let help = nearestName(to: name, among: known).map { "did you mean {\($0)}?" }
            reader.complain(
                at: position,
                "{\(name)} is no parameter of the match; "
                    + (help ?? (known.isEmpty ? "it has none" : "known are \(known.joined(separator: ", "))")))
        }
    }
}

extension Configuration.WeightedUpstream {
    fileprivate static var kind: Kind<Self> {
        Table<Self>(
            name: "Split", documentation: "One part of a split.",
            fields: [
                Field("to", \.upstream, .upstream, required: true, "An upstream."),
                Field(
                    "weight", \.weight, .integer(0...1_000_000), required: true,
                    "Its share of the requests relative to the other parts."),
            ]
        ).kind(Self(upstream: "", weight: 0))
    }
}

extension Configuration.Redirect {
    fileprivate static var table: Table<Self> {
        Table(
            name: "Redirect", documentation: "Sends the client elsewhere.",
            fields: [
                Field(
                    "to", \.to, .target, required: true,
                    "A URL or a path, with `{host}`, `{path}`, `{rest}` (what `/*` matched) and the match's parameters filled in. The request's query is kept unless the target has one; `{query}` at its end says so."
                ),
                Field("status", \.status, .status([301, 302, 303, 307, 308]), "308 keeps method and body."),
            ])
    }
}

extension Configuration.Answer {
    static var table: Table<Self> {
        Table(
            name: "Answer", documentation: "An answer that the gateway gives by itself.",
            fields: [
                Field("status", \.status, .integer(200...599), "Its status."),
                Field(
                    "headers", \.headers, .fields, initial: "none",
                    "Its fields; without `content-type` a body is `text/plain; charset=utf-8`."),
                Field("body", \.body, .text(meaning: "text", expected: "text"), initial: "empty", "Its body."),
            ])
    }
}

extension Configuration.Fallback {
    private struct Draft {
        var causes: [Cause] = [.open, .shed, .timeout]
        var upstream: String?
        var answer: Configuration.Answer?

        var action: Action? { upstream.map { .upstream($0) } ?? answer.map { .answer($0) } }
    }

    fileprivate static var kind: Kind<Self> {
        let table = Table<Draft>(
            name: "Fallback", documentation: "A degraded answer in place of none.",
            fields: [
                Field(
                    "on", \.causes, Kind<Cause>.choice.list(atLeast: 1),
                    "When: the breaker is open, there is no room, time runs out, or the upstream cannot be reached."),
                Field(
                    "to", \.upstream, Kind.upstream.optional(none: nil),
                    "Another upstream, under its own guard and in the time that is left. A request whose body is not here any more gets the gateway's answer instead."
                ),
                Field(
                    "answer", \.answer, Configuration.Answer.table.kind(Configuration.Answer()).optional(none: nil),
                    "A fixed answer."),
            ], exactlyOne: ["to", "answer"])
        return Kind(
            shape: table.shape(Draft()),
            read: { node, reader in
                guard let draft = table.read(node, &reader, from: Draft()), let action = draft.action else { return nil }
                var fallback = Self(action: action)
                fallback.causes = draft.causes
                return fallback
            }, text: { _ in nil })
    }
}

extension Configuration.RetryOverrides {
    fileprivate static var table: Table<Self> {
        Table(
            name: "Route retries",
            documentation:
                "What is tried again of one route's requests in place of what the upstream says; the keys mean the same there. The budget stays the upstream's.",
            fields: [
                Field(
                    "attempts", \.attempts, Kind.integer(1...5).optional(none: "the upstream's"),
                    "Attempts in all: the first counts, so 1 means no retry."),
                Field(
                    "retry_on", \.retryOn, Kind<RetrySettings.Condition>.condition.list().optional(none: "the upstream's"),
                    "Reason words or their beginnings and statuses; never more than the method allows."),
            ])
    }
}

extension Configuration.TimeoutOverrides {
    fileprivate static var table: Table<Self> {
        let limit = Kind<Duration>.duration(TimeoutSettings.limit).orOff().map(
            { Optional($0.map { Configuration.TimeLimit.after($0) } ?? .off) }, back: { $0?.duration })
        var inherited = limit
        inherited.text = { _ in nil }
        inherited.words = { _ in "the upstream's" }
        return Table(
            name: "Route timeouts",
            documentation: "Timeouts of one route in place of the upstream's; the keys mean the same there.",
            fields: [
                Field("total", \.total, inherited, "From the request head to the response head, over everything."),
                Field("per_try", \.perTry, inherited, "One attempt, to its response head."),
                Field("first_byte", \.firstByte, inherited, "From the request fully sent to the response head."),
                Field("idle", \.idle, inherited, "Longest silence of the upstream inside a response."),
                Field(
                    "total_includes_body", \.totalIncludesBody, Kind.boolean.optional(none: "the upstream's"),
                    "Whether `total` reaches to the end of the response body."),
            ])
    }
}
