// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core
@testable import TLS
import Testing

@Suite struct SessionTests {
    /// One connection to its end; the client's session is kept by its context.
    private func visit(_ server: ServerTLSContext, _ client: ClientTLSContext, name: String = "edge.example") -> EnginePair {
        let pair = EnginePair(server, client, name: name)
        pair.settle()
        pair.client.close(into: &pair.toServer)
        pair.server.close(into: &pair.toClient)
        pair.settle()
        return pair
    }

    private let hour: Int64 = 3_600_000_000_000

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func resumesAcrossContextsThatShareKeys(version: TLSVersion) throws {
        let keys = TicketKeys()
        func server() throws -> ServerTLSContext {
            try TestIdentities.serverContext {
                $0.ticketKeys = keys
                $0.maximumVersion = version
            }
        }
        let client = try TestIdentities.clientContext()
        let first = visit(try server(), client)
        #expect(first.isComplete && !first.server.isResumed && !first.client.isResumed)
        #expect(client.sessions?.count == 1)
        for _ in 0..<3 {  // each time another context: a reload, another reactor
            let next = visit(try server(), client)
            #expect(next.isComplete && next.server.isResumed && next.client.isResumed)
            #expect(next.server.serverName == "edge.example")
            #expect(next.server.negotiatedProtocol == .http2)
            #expect(next.client.peerCertificateSubject == "CN=edge.example")
        }
    }

    /// One ticket a handshake is enough, and the client keeps it without asking.
    @Test func oneTicketAHandshake() throws {
        let server = try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }
        let pair = EnginePair(server, try TestIdentities.clientContext())
        pair.stepClient()
        pair.stepServer()
        pair.stepClient()
        let before = pair.toClient.count
        #expect(before == 0)
        pair.stepServer()
        let sent = take(&pair.toClient)
        #expect(records(in: sent).count == 1)
        #expect(sent.count < 400, "\(sent.count) bytes")
    }

    @Test func withoutKeysThereAreNoTickets() throws {
        let server = try TestIdentities.serverContext()
        let client = try TestIdentities.clientContext()
        #expect(visit(server, client).isComplete)
        #expect(client.sessions?.count == 0)
        #expect(!visit(server, client).client.isResumed)
    }

    @Test func aClientCanDoWithoutSessions() throws {
        let server = try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }
        let client = try TestIdentities.clientContext { $0.reusesSessions = false }
        #expect(visit(server, client).isComplete)
        #expect(!visit(server, client).client.isResumed)
    }

    /// D04: the previous generation resumes and is renewed; the one before it leads to a full handshake, not to a failure.
    @Test(arguments: [TLSVersion.tls12, .tls13])
    func keysRotate(version: TLSVersion) throws {
        let keys = TicketKeys(now: .origin, interval: .seconds(3600))
        let server = try TestIdentities.serverContext {
            $0.ticketKeys = keys
            $0.maximumVersion = version
        }
        let client = try TestIdentities.clientContext()
        var now = Instant.origin
        #expect(!visit(server, client).server.isResumed)
        #expect(!keys.rotate(now: now.advanced(byNanoseconds: hour - 1)))
        now = now.advanced(byNanoseconds: hour)
        #expect(keys.rotate(now: now))
        #expect(!keys.rotate(now: now))
        #expect(visit(server, client).server.isResumed)  // under the previous key, and renewed under the current
        now = now.advanced(byNanoseconds: hour)
        #expect(keys.rotate(now: now))
        #expect(visit(server, client).server.isResumed)  // only because it was renewed
        for _ in 0..<2 {
            now = now.advanced(byNanoseconds: hour)
            #expect(keys.rotate(now: now))
        }
        let late = visit(server, client)
        #expect(late.isComplete && !late.server.isResumed && !late.client.isResumed)
        #expect(visit(server, client).server.isResumed)
        // A sleep of two intervals: one call drops both generations.
        now = now.advanced(byNanoseconds: 2 * hour)
        #expect(keys.rotate(now: now))
        let afterSleep = visit(server, client)
        #expect(afterSleep.isComplete && !afterSleep.server.isResumed)
    }

    /// Keys are made before there is a clock, and a reload may change how long they serve.
    @Test func theAgeCountsFromTheBeginningAndTheIntervalMayChange() {
        let keys = TicketKeys(now: .origin, interval: .seconds(3600))
        let start = Instant(nanoseconds: 100 * hour)
        keys.begin(now: start)
        #expect(!keys.rotate(now: start.advanced(byNanoseconds: hour - 1)))
        keys.setInterval(.seconds(60))
        #expect(keys.rotate(now: start.advanced(byNanoseconds: 60_000_000_000)))
        keys.setInterval(.seconds(7200))
        #expect(!keys.rotate(now: start.advanced(byNanoseconds: hour)))
    }

    /// The ticket of another listener, of other certificate names, or of another policy about clients is no use.
    @Test(arguments: [TLSVersion.tls12, .tls13])
    func aSessionStaysWithinItsScope(version: TLSVersion) throws {
        let keys = TicketKeys()
        let root = try TestIdentities.all.get().root
        func server(_ change: (inout ServerTLSSettings) -> Void = { _ in }) throws -> ServerTLSContext {
            try TestIdentities.serverContext(\.ecdsa, \.other) {
                $0.ticketKeys = keys
                $0.maximumVersion = version
                change(&$0)
            }
        }
        let others = [
            try server { $0.sessionScope = "another" },
            try server {
                $0.clientAuthorities = .text(root)
                $0.requiresClientCertificate = false
            },
        ]
        for other in others {
            let client = try TestIdentities.clientContext()
            _ = visit(try server(), client)
            let pair = visit(other, client)
            #expect(pair.isComplete && !pair.server.isResumed)
        }
        // Same context, but another name: the session of edge.example is offered for other.example.
        let client = try TestIdentities.clientContext { $0.verifiesPeer = false }
        _ = visit(try server(), client)
        let key = ClientSessionCache.Key(serverName: "edge.example", endpoint: "")
        let session = try #require(client.sessions?.take(key))
        client.sessions?.store(session, for: ClientSessionCache.Key(serverName: "other.example", endpoint: ""))
        let pair = visit(try server(), client, name: "other.example")
        #expect(pair.isComplete && !pair.server.isResumed)
        #expect(pair.client.peerCertificateSubject == "CN=other.example")
    }

    @Test func sessionsAreKeptByNameAndEndpoint() throws {
        let server = try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }
        let client = try TestIdentities.clientContext()
        let first = EnginePair(server, client, key: "10.0.0.1:443")
        first.settle()
        let elsewhere = EnginePair(server, client, key: "10.0.0.2:443")
        elsewhere.settle()
        #expect(elsewhere.isComplete && !elsewhere.client.isResumed)
        let again = EnginePair(server, client, key: "10.0.0.1:443")
        again.settle()
        #expect(again.client.isResumed)
    }

    /// A connection that is dropped without a goodbye does not spoil its session.
    @Test func aDroppedConnectionLeavesItsSessionUsable() throws {
        let server = try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }
        let client = try TestIdentities.clientContext()
        do {
            let pair = EnginePair(server, client)
            pair.settle()
        }
        let pair = EnginePair(server, client)
        pair.settle()
        #expect(pair.client.isResumed)
    }

    @Test func theCacheIsBounded() throws {
        let server = try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }
        let client = try TestIdentities.clientContext()
        _ = visit(server, client)
        let cache = try #require(client.sessions)
        let session = try #require(cache.take(.init(serverName: "edge.example", endpoint: "")))
        for i in 0..<(ClientSessionCache.keyLimit + 10) { cache.store(session, for: .init(serverName: "\(i)", endpoint: "")) }
        #expect(cache.count == ClientSessionCache.keyLimit)
        #expect(cache.take(.init(serverName: "9", endpoint: "")) == nil)
        #expect(cache.take(.init(serverName: "10", endpoint: "")) != nil)
        for _ in 0..<10 { cache.store(session, for: .init(serverName: "many", endpoint: "")) }
        var taken = 0
        while cache.take(.init(serverName: "many", endpoint: "")) != nil { taken += 1 }
        #expect(taken == ClientSessionCache.sessionsPerKey)
    }

    /// The age of a session is judged by the virtual clock where there is one.
    @Test(arguments: [TLSVersion.tls12, .tls13])
    func ageIsJudgedByTheVirtualClock(version: TLSVersion) throws {
        let start: Int64 = 1_650_000_000  // years before the real clock
        let server = try TestIdentities.serverContext(wallTime: start) {
            $0.ticketKeys = TicketKeys()
            $0.maximumVersion = version
            $0.sessionLifetime = .seconds(1000)
        }
        let client = try TestIdentities.clientContext(wallTime: start)
        #expect(visit(server, client).isComplete)
        server.setWallTime(start + 900)
        #expect(visit(server, client).server.isResumed)
        server.setWallTime(start + 5000)
        let late = visit(server, client)
        #expect(late.isComplete && !late.server.isResumed)
    }

    /// D07: nothing is promised, so no client sends any.
    @Test func noEarlyData() throws {
        let server = try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }
        let client = try TestIdentities.clientContext()
        _ = visit(server, client)
        let session = try #require(client.sessions?.take(.init(serverName: "edge.example", endpoint: "")))
        #expect(unsafe SSL_SESSION_get_max_early_data(session.raw) == 0)
    }

    @Test func givenKeysMustHaveTheRightLength() {
        #expect(TicketKeys(current: [1, 2, 3]) == nil)
        #expect(TicketKeys(current: [UInt8](repeating: 1, count: 80), previous: [1]) == nil)
        #expect(TicketKeys(current: [UInt8](repeating: 1, count: 80), previous: [UInt8](repeating: 2, count: 80)) != nil)
    }

    /// Two processes with the same given keys resume each other's sessions.
    @Test func givenKeysAreShared() throws {
        let secret = (0..<80).map { UInt8($0) }
        let client = try TestIdentities.clientContext()
        func server() throws -> ServerTLSContext {
            let keys = try #require(TicketKeys(current: secret))
            return try TestIdentities.serverContext { $0.ticketKeys = keys }
        }
        _ = visit(try server(), client)
        #expect(visit(try server(), client).server.isResumed)
    }
}
