// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// T8: three gateways in a row before an origin that answers 503 to everything. Where each believes the one before it, tries do not multiply
/// from hop to hop; where they do not, they do, which shows that it is the trust that keeps them down.
@Suite struct ChainTests {
    @Test func T8_triesDoNotMultiplyFromHopToHop() throws {
        let (seen, answers) = try run(trusting: true, requests: 300)
        #expect(answers == 300)
        // A fifth, and the floors: one a second and one at once, of the hop that tries.
        #expect(seen > 330 && seen <= 300 + 60 + 3 + 1, "\(seen) attempts")
        let (multiplied, _) = try run(trusting: false, requests: 300)
        #expect(multiplied > 450, "\(multiplied) attempts")
    }

    /// Attempts that the origin saw, and answers that the client got, of so many requests at a hundred a second.
    private func run(trusting: Bool, requests: Int) throws -> (seen: Int, answers: Int) {
        let world = SimulatedWorld(seed: 1)
        var gateways: [GatewayReactor] = []
        for hop in 1...3 {
            let configuration = try Configuration.parse(
                text: """
                    server_name: hop-\(hop)
                    trusted_networks: [\(trusting ? "10.0.0.0/8" : "")]
                    listeners: [{ name: l, address: 10.0.0.\(hop):80 }]
                    upstreams:
                      next:
                        endpoints: [10.0.0.\(hop + 1):80]
                        guard: { breaker: { disabled: true }, retries: { attempts: 3 } }
                    routes: [{ match: { path: "/*" }, to: next }]
                    """, file: "x.yaml"
            ).configuration
            var compiler = SnapshotCompiler(
                configuration, registry: MetricsRegistry(shards: 1), ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw,
                previous: nil)
            let gateway = GatewayReactor(
                context: TransportContext(reactor: world.makeReactor(host: "10.0.0.\(hop)")), shard: 0,
                snapshot: try compiler.compile(), connections: ConnectionCount(), accessLane: nil)
            try gateway.open()
            gateways.append(gateway)
        }
        let service = Sick()
        let origin = try ServerListener(
            on: #require(SocketAddress.parse("10.0.0.4:80")),
            context: TransportContext(reactor: world.makeReactor(host: "10.0.0.4")),
            tls: nil, settings: ServerSettings(), connectionSettings: Connection.Settings(), service: service)
        let clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.9"))
        var peers: [Reader] = []
        for _ in 0..<requests {
            let peer = Reader()
            let address = try #require(SocketAddress.parse("10.0.0.1:80"))
            let connection = Connection(
                connecting: try clients.reactor.network.connect(to: address), peer: address, context: clients, tls: nil,
                settings: Connection.Settings(), handler: peer)
            peer.connection = connection
            peers.append(peer)
            world.run(for: .milliseconds(10))
        }
        world.run(for: .seconds(30))
        for gateway in gateways { gateway.abort() }
        origin.abort()
        #expect(peers.allSatisfy { $0.heard.hasPrefix("HTTP/1.1 503") }, "\(peers.first?.heard ?? "")")
        return (service.seen, peers.count { $0.heard.hasPrefix("HTTP/1.1 503") })
    }
}

/// Asks one request once it is connected.
private final class Reader: ConnectionHandler {
    var connection: Connection?
    private(set) var heard = ""

    override func established(_ connection: Connection) {
        connection.write(Array("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n".utf8).span)
    }

    override func received(_ input: inout ByteBuffer) {
        input.withReadable { heard += String(copying: $0) }
        input.removeAll()
    }

    override func receivedEnd(truncated: Bool) { connection?.close() }
}

private final class Sick: RequestService {
    private(set) var seen = 0

    func handle(_ exchange: ServerExchange) {
        seen += 1
        let answer = ResponseHead()
        answer.status = 503
        answer.framing = .length(0)
        exchange.respond(answer, endStream: true)
        exchange.finish()
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) { exchange.abort(reason) }
}
