// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import DequeModule
import RateLimits
import Reactor
import TLS
import Transport

/// One pipelined connection to one Redis server.
///
///     connect ─► TLS ─► AUTH, SELECT, SCRIPT LOAD ─► ready: EVALSHA, EVALSHA, …        replies come in the order of the commands
///
/// Decisions that come before it is ready wait. Whatever ends it fails all that are on it; `RedisClient` makes another one.
final class RedisConnection: StreamUser {
    private enum Expectation {
        /// Credentials, database: anything but an error.
        case ready
        /// The script's name.
        case script
        /// The leave to ask for a slot that is moving.
        case asking
        case decision(RedisDecision)
    }

    let address: SocketAddress
    private unowned let client: RedisClient
    private var stream: ClientStream?
    private let reader = RESPReader()
    private var expected = Deque<Expectation>()
    private var early: [(decision: RedisDecision, asking: Bool)] = []
    private var scriptName: [UInt8]?
    private var failure = RedisFailure.connection
    private(set) var isClosed = false
    /// When something came from the server last.
    private(set) var heardAt = Instant.origin

    init(to address: SocketAddress, client: RedisClient) {
        self.address = address
        self.client = client
    }

    /// False: not even a socket could be had.
    func connect(_ context: TransportContext, _ plan: RedisPlan) -> Bool {
        do throws(NetworkError) {
            let descriptor = try context.reactor.network.connect(to: address)
            let name = plan.settings.tls?.serverName ?? address.hostText
            let engine = plan.tls.map { TLSEngine(client: $0, serverName: name, sessionKey: "redis \(address)") }
            var settings = Connection.Settings()
            settings.connectTimeout = max(plan.settings.timeout, .seconds(1))
            settings.handshakeTimeout = max(plan.settings.timeout, .seconds(2))
            settings.writeTimeout = max(plan.settings.timeout, .seconds(1))
            stream = ClientStream(
                connecting: descriptor, peer: address, context: context, tls: engine, timeouts: settings, user: self)
            return true
        } catch {
            isClosed = true
            return false
        }
    }

    /// `asking`: the slot is on its way to this server.
    func send(_ decision: RedisDecision, asking: Bool) {
        guard let scriptName, let stream else {
            early.append((decision, asking))
            return
        }
        stream.write { out in
            if asking { RedisCommand.append(["ASKING"], to: &out) }
            let command =
                decision.isWhole ? [Array("EVAL".utf8), Array(RateLimitScript.text.utf8)] : [Array("EVALSHA".utf8), scriptName]
            RedisCommand.append(command + decision.arguments, to: &out)
        }
        if asking { expected.append(.asking) }
        expected.append(.decision(decision))
        decision.sent(on: self, at: stream.reactor.now)
    }

    func close(_ failure: RedisFailure) {
        self.failure = failure
        stream?.abort()
    }

    // MARK: StreamUser

    func streamEstablished() {
        let settings = client.plan.settings
        stream?.write { out in
            if let credentials = client.plan.credentials {
                RedisCommand.append(credentials, to: &out)
                expected.append(.ready)
            }
            if settings.database != 0 {
                RedisCommand.append(["SELECT", "\(settings.database)"], to: &out)
                expected.append(.ready)
            }
            RedisCommand.append(["SCRIPT", "LOAD", RateLimitScript.text], to: &out)
            expected.append(.script)
        }
    }

    func streamReceived(_ input: inout ByteBuffer) {
        guard let stream else { return }
        heardAt = stream.reactor.now
        do throws(RESPError) {
            try input.withReadable { bytes throws(RESPError) in try reader.feed(bytes) }
            input.removeAll()
            while !isClosed, let value = try reader.next() {
                guard let expectation = expected.popFirst() else { throw RESPError(message: "a reply that nobody asked for") }
                take(value, expectation)
            }
        } catch { close(.protocol) }
    }

    private func take(_ value: RESPValue, _ expectation: Expectation) {
        switch (expectation, value) {
        case (.decision(let decision), .error(let text)): client.refused(decision, RedisRefusal(text), by: self)
        case (.decision(let decision), _): client.answered(decision, value)
        case (.asking, _): break
        case (.ready, .error), (.script, .error): close(.setup)
        case (.ready, _): break
        case (.script, .string(let name)):
            scriptName = name
            let waiting = early
            early = []
            for (decision, asking) in waiting where !decision.isSettled { send(decision, asking: asking) }
        case (.script, _): close(.protocol)
        }
    }

    func streamFailed(_ failure: ConnectionFailure) {
        switch failure {
        case .tls, .tlsTimeout: self.failure = .tls
        case .connect, .connectTimeout, .reset, .writeBlocked: break
        }
    }

    func streamClosed() {
        guard !isClosed else { return }
        isClosed = true
        stream = nil
        client.lost(self)
        var left = early.map(\.decision)
        early = []
        for case .decision(let decision) in expected { left.append(decision) }
        expected.removeAll()
        for decision in left { client.fail(decision, failure) }
    }
}

extension SocketAddress {
    /// The address without its port, as a certificate has it.
    fileprivate var hostText: String {
        let text = "\(self)"
        guard !isUnix, let colon = text.lastIndex(of: ":") else { return "localhost" }
        return String(text[..<colon].filter { $0 != "[" && $0 != "]" })
    }
}
