// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Transport
import Upstream

extension MeasuredBody {
    /// What a request pays the guarded exchange where nothing is sent, from its start to the word for its answer; and what it pays for the
    /// choice among three endpoints.
    static func exchanging() throws -> [MeasuredBody] {
        let refused = try RefusedRequests()
        let balancer = EndpointBalancer(names: ["a:1", "b:1", "c:1"], draw: Draw(seed: 1), now: .origin)
        var clock: Int64 = 1
        return [
            MeasuredBody("Guarded exchange: refused, breaker open") { times in refused.ask(times) },
            MeasuredBody("Balancer: choose and report, outliers watched") { times in
                var sum = 0
                for i in 0..<times {
                    clock += 1_000
                    let now = Instant(nanoseconds: clock)
                    let choice = balancer.choose(
                        request: UInt64(i), attempt: 0, draw: Draw(seed: 1), tried: TriedEndpoints(), now: now,
                        mayProbe: { true }, load: { $0 })
                    guard let choice else { continue }
                    balancer.report(choice, .success, latencyNanoseconds: 1_000_000, now: now)
                    sum += choice.endpoint
                }
                return sum
            },
        ]
    }
}

/// A proxied request's side of the guarded exchange, with an upstream whose breaker is open.
private final class RefusedRequests: GuardedExchangeClient {
    private let world = SimulatedWorld(seed: 1)
    private let guarded: GuardedExchange
    private let pools: UpstreamPools
    private let head = RequestHead()
    private var refused = 0

    init() throws {
        let reactor = world.makeReactor(host: "10.0.0.1")
        let address = SocketAddress.parse("10.0.0.2:80")
        let endpoints = address.map { [Endpoint(address: $0, label: "10.0.0.2:80", weight: 1)] } ?? []
        let settings = GuardSettings()
        let cluster = UpstreamCluster(
            name: "refusing", endpoints: endpoints, guardian: Guard(settings, draw: world.draw), settings: settings,
            balancer: EndpointBalancer(names: endpoints.map(\.label), draw: world.draw, now: .origin), pool: PoolSettings(),
            client: ClientConnection.Settings(), connectOptions: ConnectOptions(), tls: nil, serverName: "", hostField: .preserve,
            identity: "refusing")
        cluster.guardian.force(.forcedOpen, now: reactor.now)
        pools = UpstreamPools(cluster: cluster, context: TransportContext(reactor: reactor))
        guarded = GuardedExchange(reactor: reactor, replay: ReplayMemory())
        head.method = .get
        head.methodText = head.fields.store(head.method.text)
        head.path = head.fields.store("/users/1")
        head.authority = head.fields.store("shop.example")
        guarded.client = self
    }

    func ask(_ times: Int) -> Int {
        for i in 0..<times {
            guarded.start(
                head, hasBody: false, key: UInt64(i), isIdempotent: false, limits: pools.cluster.limits, detail: .steps, over: pools
            )
        }
        return refused
    }

    func upstreamFailed(_ failure: GuardedFailure) { refused += failure.reason == .breakerForced ? 1 : 0 }

    func upstreamInformed(_ head: ResponseHead) {}
    func upstreamAnswered(_ head: ResponseHead, endStream: Bool) {}
    func upstreamBody(_ bytes: Span<UInt8>) {}
    func upstreamEnded(trailers: borrowing FieldSection) {}
    func upstreamFallback(for reason: Reason) -> (pools: UpstreamPools, limits: AttemptLimits)? { nil }
    func upstreamReady() {}
    func upstreamTookBody(_ n: Int) {}
}
