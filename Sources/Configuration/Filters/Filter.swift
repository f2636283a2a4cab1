// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// One entry of a `filters` list: something that is done with requests or answers on their way. The order of the list means nothing
    /// but between entries of one kind; see docs/filters.md.
    public enum Filter: Equatable, Sendable {
        case maintenance(MaintenanceFilter)
        case cors(CORSFilter)
        case limits(LimitsFilter)
        case canary(CanaryFilter)
        case headers(HeadersFilter)
        case custom(CustomFilter)
        case cache(CacheFilter)
        case mirror(MirrorFilter)
        case ipList(IPListFilter)
        case apiKey(APIKeyFilter)
        case basic(BasicFilter)
        case clientCertificate(ClientCertificateFilter)
        case jwt(JWTFilter)
        case forwardAuth(ForwardAuthFilter)
        case transform(TransformFilter)
        case aggregate(AggregateFilter)
        case rateLimit(RateLimitFilter)
        case compress(CompressFilter)

        /// The key of the entry.
        public var kind: String {
            switch self {
            case .maintenance: "maintenance"
            case .cors: "cors"
            case .limits: "limits"
            case .canary: "canary"
            case .headers: "headers"
            case .custom: "custom"
            case .cache: "cache"
            case .mirror: "mirror"
            case .ipList: "ip_list"
            case .apiKey: "api_key"
            case .basic: "basic"
            case .clientCertificate: "client_certificate"
            case .jwt: "jwt"
            case .forwardAuth: "forward_auth"
            case .transform: "transform"
            case .aggregate: "aggregate"
            case .rateLimit: "rate_limit"
            case .compress: "compress"
            }
        }

        /// The upstreams that it can send requests of a route to in place of the route's own.
        public var targets: [String] {
            if case .canary(let canary) = self { [canary.upstream] } else { [] }
        }

        /// The upstreams that it needs.
        public var upstreamNames: [String] {
            switch self {
            case .canary(let canary): [canary.upstream]
            case .mirror(let mirror): [mirror.upstream]
            case .forwardAuth(let auth): [auth.upstream]
            case .jwt(let jwt): if case .remote(let keys) = jwt.keys { [keys.upstream] } else { [] }
            case .aggregate(let aggregate): aggregate.parts.map(\.upstream)
            default: []
            }
        }

        /// The fields by which it tells upstreams who somebody is, in lower case: no client may send them.
        public var identityFields: [String] {
            switch self {
            case .apiKey(let filter): [filter.consumerHeader].compactMap(\.self)
            case .basic(let filter): [filter.consumerHeader].compactMap(\.self)
            case .clientCertificate(let filter):
                [filter.consumerHeader, filter.subjectHeader, filter.namesHeader, filter.fingerprintHeader].compactMap(\.self)
            case .jwt(let filter): [filter.consumerHeader].compactMap(\.self) + filter.claimHeaders.map(\.header)
            case .forwardAuth(let filter): filter.copy
            default: []
            }
        }

        /// Texts that are filled in for each request.
        var templates: [ValueTemplate] {
            switch self {
            case .headers(let headers): headers.templates
            case .transform(let transform): transform.templates
            case .aggregate(let aggregate): aggregate.templates
            default: []
            }
        }
    }
}

extension Configuration.Filter {
    /// An entry as the file has it: one key, that of its kind.
    private struct Draft {
        var filter: Configuration.Filter?
        var maintenance: Configuration.MaintenanceFilter? { didSet { filter = maintenance.map { .maintenance($0) } } }
        var cors: Configuration.CORSFilter? { didSet { filter = cors.map { .cors($0) } } }
        var limits: Configuration.LimitsFilter? { didSet { filter = limits.map { .limits($0) } } }
        var canary: Configuration.CanaryFilter? { didSet { filter = canary.map { .canary($0) } } }
        var headers: Configuration.HeadersFilter? { didSet { filter = headers.map { .headers($0) } } }
        var custom: Configuration.CustomFilter? { didSet { filter = custom.map { .custom($0) } } }
        var cache: Configuration.CacheFilter? { didSet { filter = cache.map { .cache($0) } } }
        var mirror: Configuration.MirrorFilter? { didSet { filter = mirror.map { .mirror($0) } } }
        var ipList: Configuration.IPListFilter? { didSet { filter = ipList.map { .ipList($0) } } }
        var apiKey: Configuration.APIKeyFilter? { didSet { filter = apiKey.map { .apiKey($0) } } }
        var basic: Configuration.BasicFilter? { didSet { filter = basic.map { .basic($0) } } }
        var clientCertificate: Configuration.ClientCertificateFilter? {
            didSet { filter = clientCertificate.map { .clientCertificate($0) } }
        }
        var jwt: Configuration.JWTFilter? { didSet { filter = jwt.map { .jwt($0) } } }
        var forwardAuth: Configuration.ForwardAuthFilter? { didSet { filter = forwardAuth.map { .forwardAuth($0) } } }
        var transform: Configuration.TransformFilter? { didSet { filter = transform.map { .transform($0) } } }
        var aggregate: Configuration.AggregateFilter? { didSet { filter = aggregate.map { .aggregate($0) } } }
        var rateLimit: Configuration.RateLimitFilter? { didSet { filter = rateLimit.map { .rateLimit($0) } } }
        var compress: Configuration.CompressFilter? { didSet { filter = compress.map { .compress($0) } } }
    }

    static var kind: Kind<Self> {
        let fields: [Field<Draft>] = [
            Field(
                "maintenance", \.maintenance, Configuration.MaintenanceFilter.kind.optional(none: nil),
                "Answers 503 to everybody but chosen networks."),
            Field(
                "cors", \.cors, Configuration.CORSFilter.kind.optional(none: nil),
                "Lets pages of other origins use the route (CORS); preflights are answered here."),
            Field("limits", \.limits, Configuration.LimitsFilter.kind.optional(none: nil), "How large a request may be."),
            Field(
                "canary", \.canary, Configuration.CanaryFilter.kind.optional(none: nil),
                "Sends a share of the requests, or chosen ones, to another upstream, and each client always to the same."),
            Field("headers", \.headers, Configuration.HeadersFilter.kind.optional(none: nil), "Changes header fields."),
            Field(
                "custom", \.custom, Configuration.CustomFilter.kind.optional(none: nil),
                "A filter of the program that embeds the gateway."),
            Field(
                "cache", \.cache, Configuration.CacheFilter.kind.optional(none: nil),
                "Stores answers and serves them again (RFC 9111), after whatever asks who it is."),
            Field(
                "mirror", \.mirror, Configuration.MirrorFilter.kind.optional(none: nil),
                "Sends a copy of a share of the requests to another upstream, whose answers nobody sees."),
            Field("ip_list", \.ipList, Configuration.IPListFilter.kind.optional(none: nil), "Lets in by address."),
            Field("api_key", \.apiKey, Configuration.APIKeyFilter.kind.optional(none: nil), "Lets in who shows a known key."),
            Field("basic", \.basic, Configuration.BasicFilter.kind.optional(none: nil), "Lets in who knows a user's password."),
            Field(
                "client_certificate", \.clientCertificate, Configuration.ClientCertificateFilter.kind.optional(none: nil),
                "Lets in who showed a certificate of the listener's authorities."),
            Field("jwt", \.jwt, Configuration.JWTFilter.kind.optional(none: nil), "Lets in who shows a signed token."),
            Field(
                "forward_auth", \.forwardAuth, Configuration.ForwardAuthFilter.kind.optional(none: nil),
                "Asks a service whether a request may pass."),
            Field(
                "transform", \.transform, Configuration.TransformFilter.kind.optional(none: nil),
                "Changes method and query, and makes JSON bodies anew by a mapping."),
            Field(
                "aggregate", \.aggregate, Configuration.AggregateFilter.kind.optional(none: nil),
                "Asks several upstreams and makes one JSON document of their answers."),
            Field(
                "rate_limit", \.rateLimit, Configuration.RateLimitFilter.kind.optional(none: nil),
                "How often one client, consumer or route may ask."),
            Field(
                "compress", \.compress, Configuration.CompressFilter.kind.optional(none: nil),
                "Compresses answers for clients that take it."),
        ]
        let table = Table<Draft>(
            name: "Filter",
            documentation:
                "One thing that is done with requests or answers on their way. The order in which filters run is fixed: see docs/filters.md.",
            fields: fields, exactlyOne: fields.map(\.key))
        return Kind(
            shape: table.shape(Draft()),
            read: { node, reader in table.read(node, &reader, from: Draft())?.filter }, text: { _ in nil })
    }

    /// A list of filters; `limit` of a kind that makes sense only once.
    static var listKind: Kind<[Self]> {
        var kind = Self.kind.list().checked { filters, node, reader in
            var seen: Set<String> = []
            for filter in filters where !mayRepeat.contains(filter.kind) && !seen.insert(filter.kind).inserted {
                reader.complain(at: node.position, "the filter \(filter.kind) stands twice in one list; it works once")
            }
            let limits = filters.compactMap { if case .rateLimit(let limit) = $0 { limit } else { nil } }
            Configuration.RateLimitFilter.check(limits, at: node.position, &reader)
        }
        kind.text = { $0.isEmpty ? "[]" : nil }
        return kind
    }

    /// Kinds of which a list may have several.
    private static let mayRepeat: Set<String> = ["headers", "custom", "mirror", "rate_limit"]

    /// Complains about `{param.…}` that the route's path does not have.
    static func check(_ filters: [Self], parameters: [String], at position: Position, _ reader: inout Reader) {
        for template in filters.flatMap(\.templates) {
            for name in template.parameterNames where !parameters.contains(name) {
                let known = parameters.isEmpty ? "the match has none" : "known are \(parameters.joined(separator: ", "))"
                reader.complain(at: position, "{param.\(name)} is no parameter of the match; \(known)")
            }
        }
    }
}
