// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Reactor

/// Real sockets: what is told where nobody answers. `Tests/EndToEndTests/Support/dns.py` has a name server.
@Suite struct AresResolverTests {
    /// A port of this machine where nobody is, as far as can be known: it was free a moment ago.
    private static func freePort(_ network: Network) throws -> UInt16 {
        let descriptor = try network.listen(on: .loopback(port: 0))
        defer { network.close(descriptor) }
        return try #require(network.localAddress(descriptor)).port
    }

    private static func ask(_ name: String, servers: @escaping @Sendable (Network) throws -> [SocketAddress]) throws -> [String] {
        try Lab.epoll.run { stage in
            let resolver = AresResolver(reactor: stage.reactor)
            stage.keep(resolver)
            let settings = ResolverSettings(servers: try servers(stage.reactor.network), timeout: .milliseconds(100), attempts: 1)
            var isWithin = true
            resolver.ask(NameQuestion(name, .a), settings) { answer in
                stage.tell("\(isWithin ? "within the call: " : "")\(answer)")
                stage.tell("\(resolver.questionsUnderWay) under way, \(stage.reactor.channelCount) sockets")
                stage.finish()
            }
            isWithin = false
        }
    }

    @Test func nobodyThere() throws {
        let told = try Self.ask("users.internal") { [.loopback(port: try Self.freePort($0))] }
        #expect(told == ["failed(Reactor.NameFailure.unreachable)", "0 under way, 0 sockets"])
    }

    /// What c-ares refuses at once is told later all the same.
    @Test(arguments: [String(repeating: "a", count: 64) + ".internal", "a..internal"])
    func noName(name: String) throws {
        let told = try Self.ask(name) { [.loopback(port: try Self.freePort($0))] }
        #expect(told == ["failed(Reactor.NameFailure.local)", "0 under way, 0 sockets"])
    }

    /// Whoever lets go hears nothing more, and nothing is left.
    @Test func closing() throws {
        let told = try Lab.epoll.run { stage in
            let resolver = AresResolver(reactor: stage.reactor)
            stage.keep(resolver)
            // A socket that takes datagrams' place and never answers is not at hand: TEST-NET-1 has nobody (RFC 5737).
            let settings = ResolverSettings(servers: [.v4(192, 0, 2, 1, port: 53)], timeout: .seconds(30), attempts: 1)
            resolver.ask(NameQuestion("users.internal", .a), settings) { _ in stage.tell("answered") }
            stage.tell("\(resolver.questionsUnderWay) under way")
            resolver.close()
            stage.tell("\(resolver.questionsUnderWay) under way, \(stage.reactor.channelCount) sockets")
            stage.finish()
        }
        #expect(told == ["1 under way", "0 under way, 0 sockets"])
    }
}
