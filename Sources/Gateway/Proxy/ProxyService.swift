// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import TLS
import Telemetry
import Transport

/// Takes the requests of one listener on one reactor to the gateway.
final class ProxyService: RequestService {
    private unowned let home: GatewayReactor
    /// The newest plan of this listener.
    var plan: ListenerPlan
    private var openConnections = 0

    init(home: GatewayReactor, plan: ListenerPlan) {
        self.home = home
        self.plan = plan
    }

    func handle(_ exchange: ServerExchange) {
        home.takeExchange().start(exchange, listener: plan, snapshot: home.snapshot)
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) {
        home.takeExchange().startRefused(exchange, listener: plan, snapshot: home.snapshot, reason: reason, detail: detail)
    }

    func admitsConnection(_ peer: SocketAddress) -> Bool {
        if let reason = home.overload.refusesConnections {
            plan.metrics.refused.add(shard: home.shard)
            home.snapshot.metrics.count(reason, shard: home.shard)
            return false
        }
        guard
            home.connections.admit(
                listener: plan.address, listenerLimit: plan.connectionLimit, limit: home.snapshot.connectionLimit)
        else {
            plan.metrics.refused.add(shard: home.shard)
            home.snapshot.metrics.count(.limitConnections, shard: home.shard)
            return false
        }
        return true
    }

    func connectionOpened(_ connection: Connection) {
        plan.metrics.accepted.add(shard: home.shard)
        plan.metrics.open.add(1, shard: home.shard)
    }

    func connectionEstablished(_ connection: Connection) {
        guard let tls = connection.tls else { return }
        plan.metrics.handshakes.add(shard: home.shard)
        if tls.isResumed { plan.metrics.resumed.add(shard: home.shard) }
    }

    func connectionClosed(_ connection: Connection) {
        home.connections.release(listener: plan.address)
        plan.metrics.open.add(-1, shard: home.shard)
        plan.metrics.bytesIn.add(connection.bytesReceived, shard: home.shard)
        plan.metrics.bytesOut.add(connection.bytesSent, shard: home.shard)
    }

    func connectionMisbehaved(_ connection: Connection, _ reason: Reason, detail: String) {
        home.snapshot.metrics.count(reason, shard: home.shard)
    }

    func connectionFailed(_ connection: Connection, _ failure: ConnectionFailure) {
        switch failure {
        case .tls:
            if connection.establishedAt == nil {
                plan.metrics.handshakeFailures.add(shard: home.shard)
                home.snapshot.metrics.count(.clientTLSFailed, shard: home.shard)
            }
        case .tlsTimeout:
            plan.metrics.handshakeFailures.add(shard: home.shard)
            home.snapshot.metrics.count(.clientTLSTimeout, shard: home.shard)
        case .reset where connection.establishedAt == nil: plan.metrics.handshakeFailures.add(shard: home.shard)
        case .reset, .connect, .connectTimeout, .writeBlocked: break
        }
    }
}
