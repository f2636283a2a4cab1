// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import DequeModule
import RateLimits
import Reactor
import Resilience
import Transport

/// One decision that Redis is asked for.
final class RedisDecision {
    let arguments: [[UInt8]]
    let count: Int
    /// In a cluster.
    let slot: Int
    let deadline: Instant
    /// The script is sent whole, since the server does not know it.
    fileprivate(set) var isWhole = false
    fileprivate var redirects = 0
    fileprivate var permit: AttemptPermit?
    fileprivate var onEnd: ((Result<(isAdmitted: Bool, verdicts: [RateLimitVerdict]), RedisFailure>) -> Void)?
    fileprivate weak var connection: RedisConnection?
    fileprivate var sentAt = Instant.never
    fileprivate(set) var isSettled = false

    fileprivate init(_ claims: [RateLimitScript.Claim], deadline: Instant) {
        arguments = RateLimitScript.arguments(claims)
        count = claims.count
        slot = claims.first.map { RedisSlot.slot(of: $0.key) } ?? 0
        self.deadline = deadline
    }

    func sent(on connection: RedisConnection, at now: Instant) {
        self.connection = connection
        sentAt = now
        permit?.requestSent(now: now)
    }

    /// Nobody waits for it any more; what comes of it is still counted.
    func abandon() { onEnd = nil }
}

/// One reactor's way to Redis: a pipelined connection to each server that it needs, and what of a cluster it has learned.
///
/// A decision is asked once: if its connection is lost nobody knows whether it was counted, and asking again could count it twice.
final class RedisClient: TimerOwner {
    typealias Outcome = Result<(isAdmitted: Bool, verdicts: [RateLimitVerdict]), RedisFailure>

    /// More than that, and servers do not agree on who has a slot.
    private static let maximumRedirects = 5

    let plan: RedisPlan
    private let context: TransportContext
    private let shard: Int
    private var connections: [SocketAddress: RedisConnection] = [:]
    /// Who has which slot, as far as it was told.
    private var slots: [Int: SocketAddress] = [:]
    /// Of the configured servers, the one to begin with.
    private var seed = 0
    /// In the order of their deadlines.
    private var underWay = Deque<RedisDecision>()
    private let timer = Timer()
    private var isRetired = false
    /// Nothing is left of it.
    var isOver: Bool { isRetired && connections.isEmpty }

    init(_ plan: RedisPlan, _ context: TransportContext, shard: Int) {
        self.plan = plan
        self.context = context
        self.shard = shard
        timer.owner = self
    }

    /// Asks Redis. `onEnd` is called once, later or at once, unless the decision is abandoned before.
    func decide(_ claims: [RateLimitScript.Claim], request: UInt64, _ onEnd: @escaping (Outcome) -> Void) -> RedisDecision {
        let now = context.reactor.now
        let decision = RedisDecision(claims, deadline: now.advanced(by: plan.settings.timeout))
        decision.onEnd = onEnd
        switch plan.guardian.admit(now: now, request: request, isFirstAttempt: true) {
        case .admitted(let permit):
            decision.permit = consume permit
            underWay.append(decision)
            if !timer.isArmed { context.reactor.schedule(timer, at: decision.deadline) }
            send(decision, to: server(for: decision), asking: false)
        case .mustWait: fail(decision, .full)
        case .refused(let refusal): fail(decision, refusal.reason == .bulkheadFull ? .full : .breaker)
        }
        return decision
    }

    private func server(for decision: RedisDecision) -> SocketAddress {
        if plan.settings.cluster, let known = slots[decision.slot] { return known }
        return plan.servers[seed % plan.servers.count]
    }

    private func send(_ decision: RedisDecision, to address: SocketAddress, asking: Bool) {
        if let connection = connections[address], !connection.isClosed {
            connection.send(decision, asking: asking)
            return
        }
        let connection = RedisConnection(to: address, client: self)
        guard connection.connect(context, plan) else {
            seed &+= 1
            fail(decision, .connection)
            return
        }
        connections[address] = connection
        connection.send(decision, asking: asking)
    }

    // MARK: Called by connections

    func answered(_ decision: RedisDecision, _ value: RESPValue) {
        guard let result = RateLimitScript.verdicts(value, count: decision.count) else {
            fail(decision, .protocol)
            return
        }
        plan.countDecision(shard: shard)
        settle(decision, .success, .success(result))
    }

    func refused(_ decision: RedisDecision, _ refusal: RedisRefusal, by connection: RedisConnection) {
        guard !decision.isSettled else { return }
        switch refusal {
        case .noScript where !decision.isWhole:
            decision.isWhole = true
            connection.send(decision, asking: decision.redirects > 0 && slots[decision.slot] != connection.address)
        case .moved(let slot, let text):
            guard let address = redirect(decision, text, from: connection) else { return }
            slots[slot] = address
            send(decision, to: address, asking: false)
        case .ask(let text):
            guard let address = redirect(decision, text, from: connection) else { return }
            send(decision, to: address, asking: true)
        case .noScript, .other: fail(decision, .refused)
        }
    }

    private func redirect(_ decision: RedisDecision, _ text: String, from connection: RedisConnection) -> SocketAddress? {
        decision.redirects += 1
        guard plan.settings.cluster, decision.redirects <= RedisClient.maximumRedirects,
            let address = RedisClient.address(text, from: connection.address)
        else {
            fail(decision, .redirect)
            return nil
        }
        return address
    }

    /// As servers write it: without brackets around IPv6, and without a host where it is their own.
    private static func address(_ text: String, from server: SocketAddress) -> SocketAddress? {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        let host = String(text[..<colon])
        if host.isEmpty {
            var address = server
            address.port = port
            return address
        }
        return SocketAddress.parse(host: host, port: port)
    }

    func lost(_ connection: RedisConnection) {
        if connections[connection.address] === connection { connections[connection.address] = nil }
        slots = slots.filter { $0.value != connection.address }
        seed &+= 1
    }

    func fail(_ decision: RedisDecision, _ failure: RedisFailure) {
        guard !decision.isSettled else { return }
        plan.count(failure, shard: shard)
        settle(decision, .failure, .failure(failure))
    }

    private func settle(_ decision: RedisDecision, _ outcome: Resilience.Outcome.Class, _ result: Outcome) {
        guard !decision.isSettled else { return }
        decision.isSettled = true
        let now = context.reactor.now
        if let permit = decision.permit.take() {
            permit.report(
                outcome == .success
                    ? .success : Resilience.Outcome(.failure, reason: .connectFailed, processed: .maybe), now: now)
        }
        while let first = underWay.first, first.isSettled { underWay.removeFirst() }
        if isRetired && underWay.isEmpty { close() }
        let onEnd = decision.onEnd.take()
        onEnd?(result)
    }

    // MARK: Time

    func timerFired(_ timer: Timer, now: Instant) {
        while let first = underWay.first, first.isSettled || first.deadline <= now {
            underWay.removeFirst()
            if first.isSettled { continue }
            let connection = first.connection
            // A server that is only slow keeps its connection; of one that is silent nothing more is expected.
            if let connection, !connection.isClosed, connection.heardAt <= first.sentAt {
                fail(first, .timeout)
                connection.close(.timeout)
            } else {
                fail(first, .timeout)
            }
        }
        if let first = underWay.first { context.reactor.schedule(timer, at: first.deadline) }
    }

    /// The configuration has another Redis, or none: connections end when the decisions under way have.
    func retire() {
        isRetired = true
        if underWay.isEmpty { close() }
    }

    /// Ends all connections; decisions under way fail.
    func close() { for connection in connections.values { connection.close(.connection) } }
}
