// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Configuration
package import Core
package import Telemetry

/// Makes filters of their configuration. What one needs of a service that it calls is a position among the upstreams: calls go through that
/// upstream's own guard.
package struct FilterCompiler {
    /// Names, by position.
    package let upstreams: [String]
    package let registry: MetricsRegistry
    package let draw: Draw
    let now: Instant
    /// Of the configuration before: counters, keys and stored answers go on.
    private let previous: [String: any Filter]
    let custom: CustomFilters
    private let cacheBytes: Int
    /// What all `cache` filters share; made for the first of them, and kept from configuration to configuration.
    private(set) var cacheStore: CacheStore?
    private let redisSettings: Configuration.Redis?
    private let wallTime: Int64?
    private var redis: RedisPlan?
    private(set) var compiled: [String: any Filter] = [:]
    package private(set) var complaints: [String] = []

    init(
        upstreams: [String], registry: MetricsRegistry, draw: Draw, now: Instant, previous: [String: any Filter],
        custom: CustomFilters, cacheStore: CacheStore? = nil, cacheBytes: Int = Configuration.Cache().bytes,
        redis: Configuration.Redis? = nil, wallTime: Int64? = nil
    ) {
        self.cacheStore = cacheStore
        self.cacheBytes = cacheBytes
        redisSettings = redis
        self.wallTime = wallTime
        self.upstreams = upstreams
        self.registry = registry
        self.draw = draw
        self.now = now
        self.previous = previous
        self.custom = custom
    }

    mutating func compile(_ filters: [Configuration.Filter], _ scope: FilterScope, parameters: [String] = []) -> [RankedFilter] {
        var numbers: [String: Int] = [:]
        let limits = RateLimitFilter.groups(filters)
        var limitsMade: Set<String> = []
        return filters.compactMap { filter in
            var kind = filter.kind
            var group: [Configuration.RateLimitFilter] = []
            if case .rateLimit(let settings) = filter {
                // Those that are asked together are one filter, so that they give all or nothing.
                kind = RateLimitFilter.group(of: settings)
                guard limitsMade.insert(kind).inserted else { return nil }
                group = limits[kind] ?? []
            }
            let number = numbers[kind, default: 0]
            numbers[kind] = number + 1
            let identity = "\(scope)/\(kind)/\(number)"
            var place = FilterPlace(scope: scope, parameters: parameters, previous: previous[identity], limits: group)
            do throws(FilterComplaint) {
                let (rank, made) = try make(filter, &place)
                compiled[identity] = made
                return RankedFilter(
                    rank: rank, filter: made, metrics: FilterMetrics(registry: registry, scope: scope, kind: filter.kind))
            } catch {
                complaints.append("\(scope): filter \(filter.kind): \(error.message)")
                return nil
            }
        }
    }

    private mutating func make(
        _ filter: Configuration.Filter, _ place: inout FilterPlace
    ) throws(FilterComplaint) -> (FilterRank, any Filter) {
        switch filter {
        case .maintenance(let settings): (.maintenance, MaintenanceFilter(settings))
        case .cors(let settings): (.cors, CORSFilter(settings))
        case .limits(let settings): (.limits, LimitsFilter(settings))
        case .canary(let settings): (.canary, CanaryFilter(settings, to: try index(of: settings.upstream), scope: place.scope))
        case .headers(let settings): (.headers, HeadersFilter(settings, parameters: place.parameters))
        case .custom(let settings): (.custom, try custom.make(settings))
        case .transform(let settings): (.transform, TransformFilter(settings, parameters: place.parameters))
        case .aggregate(let settings): (.aggregate, try aggregate(settings, place))
        case .cache(let settings): (.cache, try cache(settings, place))
        case .compress(let settings): (.compress, CompressFilter(settings))
        case .rateLimit(let settings):
            (
                RateLimitFilter.rank(of: settings),
                try RateLimitFilter(
                    place.limits, place, redis: settings.store == .redis ? try redisPlan() : nil, registry: registry, draw: draw,
                    now: now)
            )
        case .mirror(let settings):
            (.mirror, MirrorFilter(settings, to: try index(of: settings.upstream), scope: place.scope, registry: registry))
        case .ipList(let settings): (.ipList, IPListFilter(settings))
        case .apiKey(let settings): (.apiKey, try APIKeyFilter(settings))
        case .basic(let settings): (.basic, try BasicFilter(settings, shards: registry.shards))
        case .clientCertificate(let settings): (.clientCertificate, ClientCertificateFilter(settings))
        case .jwt(let settings): (.jwt, try jwt(settings))
        case .forwardAuth(let settings): (.forwardAuth, ForwardAuthFilter(settings, to: try index(of: settings.upstream)))
        }
    }

    private func jwt(_ settings: Configuration.JWTFilter) throws(FilterComplaint) -> JWTFilter {
        var upstream: Int?
        if case .remote(let keys) = settings.keys { upstream = try index(of: keys.upstream) }
        let others = [compiled, previous].flatMap { filters in
            filters.sorted { $0.key < $1.key }.compactMap { $0.value as? JWTFilter }
        }
        return try JWTFilter(settings, upstream: upstream, shards: registry.shards, among: others)
    }

    private func aggregate(
        _ settings: Configuration.AggregateFilter, _ place: FilterPlace
    ) throws(FilterComplaint) -> AggregateFilter {
        var upstreams: [Int] = []
        for part in settings.parts { upstreams.append(try index(of: part.upstream)) }
        return AggregateFilter(
            settings, upstreams: upstreams, parameters: place.parameters, scope: place.scope, registry: registry)
    }

    private mutating func cache(
        _ settings: Configuration.CacheFilter, _ place: FilterPlace
    ) throws(FilterComplaint) -> CacheFilter {
        let largest = cacheStore?.largestObject(in: cacheBytes) ?? CacheStore.largestObject(in: cacheBytes)
        if settings.objectBytes > largest {
            throw FilterComplaint(
                "object_bytes is \(settings.objectBytes), of which a cache of \(cacheBytes) bytes would keep too few; at most \(largest), or raise cache.bytes"
            )
        }
        let store = cacheStore ?? CacheStore(bytes: cacheBytes)
        cacheStore = store
        return CacheFilter(settings, store: store, scope: place.scope, registry: registry)
    }

    /// One for all filters of a configuration.
    private mutating func redisPlan() throws(FilterComplaint) -> RedisPlan {
        if let redis { return redis }
        guard let redisSettings else { throw FilterComplaint("there is no redis") }
        // Any of them: they had one too.
        let before = previous.values.lazy.compactMap { ($0 as? RateLimitFilter)?.redis }.first
        let plan = try RedisPlan(redisSettings, after: before, registry: registry, draw: draw, wallTime: wallTime)
        redis = plan
        return plan
    }

    /// The position of an upstream.
    package func index(of name: String) throws(FilterComplaint) -> Int {
        guard let index = upstreams.firstIndex(of: name) else { throw FilterComplaint("there is no upstream \(name)") }
        return index
    }
}

/// Where the filter that is being made belongs.
package struct FilterPlace {
    package let scope: FilterScope
    /// Of the route's path, in order.
    package let parameters: [String]
    /// The filter that stood here before, whose state goes on if it can.
    package let previous: (any Filter)?
    /// The rate limits that are asked together.
    let limits: [Configuration.RateLimitFilter]
}

/// Why a filter cannot be made of a configuration that reads well.
package struct FilterComplaint: Error {
    package var message: String
    package init(_ message: String) { self.message = message }
}
