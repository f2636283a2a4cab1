// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension Configuration {
    /// The whole file.
    static var table: Table<Configuration> {
        Table(
            name: "Configuration",
            documentation: "The whole file. Keys that begin with `x-` are left alone: a place for YAML anchors.",
            fields: [
                Field(
                    "threads", \.threads, Kind.integer(1...1024).optional(none: "one a core"),
                    "Reactors: threads that each serve their own connections."),
                Field(
                    "server_name", \.serverName,
                    .text(
                        pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$", meaning: "token", expected: "a token of up to 64 characters",
                        problem: { Words.isToken($0) && $0.utf8.count <= 64 ? nil : "is no token" }),
                    "The pseudonym in `Via`, by which a request that comes round again is recognised. Give each hop of a chain its own."
                ),
                Field("seed", \.seed, Kind.seed.optional(none: "a fresh one"), "Makes every random draw repeatable, for tests."),
                Field(
                    "trusted_networks", \.trustedNetworks, Kind.network.list(),
                    "Peers whose `Forwarded`, `X-Forwarded-*` and request id are believed, such as the load balancer in front."),
                Field(
                    "request_id", \.requestID, RequestID.table.kind(RequestID()),
                    "The name under which one request is known in every log: the field `x-request-id`."),
                Field("admin", \.admin, Kind.listening.orOff(), "Where metrics and health are served. Not for the public."),
                Field(
                    "admin_token", \.adminToken, Kind.secret.orOff(),
                    "What whoever changes something through the admin listener shows as `Authorization: Bearer …`: at least 16 bytes, in a file or in `{ env: … }`. Off: nothing can be changed there."
                ),
                Field(
                    "explain", \.explain, Explain.table.kind(Explain()).orOff(),
                    "Which requests' decisions can be looked up by their id: `GET /explain/ID` on the admin listener."),
                Field("access_log", \.accessLog, AccessLog.table.kind(AccessLog()).orOff(), "One line a request."),
                Field("limits", \.limits, Limits.table.kind(Limits()), "How much of anything a peer may ask for."),
                Field("cache", \.cache, Cache.table.kind(Cache()), "The store that all `cache` filters share."),
                Field(
                    "overload", \.overload, Overload.table.kind(Overload()),
                    "How short of something the whole gateway may be before it turns requests away."),
                Field(
                    "redis", \.redis, Redis.table.kind(Redis()).optional(none: "none"), "Where gateways count rate limits together."
                ),
                Field(
                    "drain", \.drain, .duration(.zero ... .seconds(3600)),
                    "How long exchanges under way may take once the gateway stops or hands over."),
                Field("listeners", \.listeners, Listener.kind.list(atLeast: 1), required: true, "Where clients are served."),
                Field("upstreams", \.upstreams, Upstream.namedKind, initial: "none", "The services behind, by name."),
                Field(
                    "routes", \.routes, Route.kind.list(atLeast: 1), required: true,
                    "Which requests go where. The most specific match wins, whatever the order."),
            ], allowsExtensions: true,
            check: { configuration, _, reader in if configuration.redis == nil { reader.complainAboutMissingRedis() } })
    }
}

extension Configuration.RequestID {
    static var table: Table<Self> {
        Table(
            name: "Request id", documentation: "The name under which one request is known in every log: the field `x-request-id`.",
            fields: [
                Field(
                    "keep", \.keep, .choice,
                    "Whose id is kept: anybody's (if it is 1 to 128 letters, digits and `-._~:+/=@`), that of a peer in `trusted_networks`, or nobody's."
                ),
                Field("answer", \.answer, .boolean, "Whether the answer carries it too."),
            ])
    }
}

extension Configuration.Explain {
    static var table: Table<Self> {
        Table(
            name: "Explain",
            documentation: "Records of what the guard decided about a request, with its numbers at that instant; `off` makes none.",
            fields: [
                Field("keep", \.keep, .integer(1...100_000), "Records kept; the oldest goes first."),
                Field(
                    "rate", \.rate, .integer(0...100_000),
                    "Records a second of requests that were refused, failed or tried again. More of them are not recorded."),
                Field(
                    "sampling", \.sampling, .share(0...10_000), "Share of all requests that are recorded, whatever becomes of them."
                ),
            ])
    }
}

extension Configuration.AccessLog {
    static var table: Table<Self> {
        Table(
            name: "Access log", documentation: "One line a request; `off` in place of the mapping writes none.",
            fields: [
                Field("format", \.format, .choice, "JSON lines, or text for people."),
                Field(
                    "path", \.destination, .destination,
                    "A file that is appended to, relative to the configuration's folder; `-` or `stdout`; or `stderr`."),
                Field(
                    "sampling", \.sampling, .share(0...10_000),
                    "Share of the requests that are written; answers of 500 and above always are."),
            ])
    }
}

extension Kind where Value == Configuration.AccessLog.Destination {
    static var destination: Kind {
        let text = Kind<String>.text(
            meaning: "path, `-`, `stdout` or `stderr`", expected: "the path of a file, -, stdout or stderr")
        return Kind(
            shape: text.shape,
            read: { node, reader in
                text.read(node, &reader).map { written in
                    switch written {
                    case "-", "stdout": .standardOutput
                    case "stderr": .standardError
                    default: .file(reader.resolved(written))
                    }
                }
            },
            text: { value in
                switch value {
                case .standardOutput: "stdout"
                case .standardError: "stderr"
                case .file(let path): path
                }
            })
    }
}
