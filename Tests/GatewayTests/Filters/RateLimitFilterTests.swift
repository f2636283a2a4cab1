// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import RateLimits
import Reactor
import Testing

@testable import Gateway
@testable import Transport

/// Says what a test makes Redis say. Commands look as replies do, so that hiredis reads them too.
private final class FakeRedis: Listener {
    private let context: TransportContext
    private(set) var connections: [Talk] = []
    /// Of each command by its first word; `nil`: silence.
    var answer: (_ command: [String]) -> String? = { command in
        switch command[0] {
        case "SCRIPT": "$4\r\nname\r\n"
        case "EVALSHA", "EVAL": "*5\r\n:1\r\n:1\r\n:4\r\n:0\r\n:0\r\n"
        default: "+OK\r\n"
        }
    }
    private(set) var heard: [[String]] = []

    init(_ context: TransportContext) throws {
        self.context = context
        try super.init(on: #require(SocketAddress.parse("10.0.0.7:6379")), reactor: context.reactor)
    }

    func count(_ word: String) -> Int { heard.count { $0[0] == word } }

    override func accepted(_ descriptor: Descriptor, peer: SocketAddress) {
        let talk = Talk(self)
        connections.append(talk)
        talk.connection = Connection(
            accepted: descriptor, peer: peer, context: context, tls: nil, settings: Connection.Settings(), handler: talk)
    }

    final class Talk: ConnectionHandler {
        private unowned let redis: FakeRedis
        var connection: Connection?
        private let reader = RESPReader()

        init(_ redis: FakeRedis) {
            self.redis = redis
            super.init()
        }

        override func received(_ input: inout ByteBuffer) {
            do {
                try input.withReadable { bytes throws(RESPError) in try reader.feed(bytes) }
                input.removeAll()
                while case .array(let words)? = try reader.next() {
                    let command = words.map { word in
                        if case .string(let bytes) = word { String(decoding: bytes, as: UTF8.self) } else { "?" }
                    }
                    redis.heard.append(command)
                    if let text = redis.answer(command) { connection?.write(Array(text.utf8).span) }
                }
            } catch { Issue.record("the gateway says no command: \(error)") }
        }
    }
}

@Suite struct RateLimitFilterTests {
    private func lab(_ limit: String, redis: String = "") throws -> (FilterLab, FakeRedis) {
        let lab = try FilterLab(
            filters: "{ rate_limit: { \(limit) } }",
            top: "redis: { servers: \"10.0.0.7:6379\", timeout: 100ms\(redis) }\ntrusted_networks: [10.0.0.2]")
        return (lab, try FakeRedis(TransportContext(reactor: lab.world.makeReactor(host: "10.0.0.7"))))
    }

    private func status(_ answer: String) -> String { String(answer.dropFirst(9).prefix(3)) }

    @Test func aBucketFillsOnVirtualTime() throws {
        let (lab, _) = try lab("rate: 6/minute, burst: 2")
        // Each question takes a second.
        #expect(try (0..<3).map { _ in status(try lab.get()) } == ["200", "200", "429"])
        lab.world.run(for: .seconds(7))
        let answers = try (0..<2).map { _ in try lab.get() }
        #expect(answers.map(status) == ["200", "429"])
        #expect(answers[0].contains("\r\nratelimit-policy: \"client_ip\";q=2;w=20\r\n"))
        #expect(
            answers[1].contains("\r\nratelimit: \"client_ip\";r=0;t=") && answers[1].contains("\r\nretry-after: 9\r\n"),
            "\(answers[1])")
        #expect(lab.upstreams[0].peers.count > 0 && lab.isAtRest)
        lab.end()
    }

    /// P27: a client in no trusted network says what it likes.
    @Test func P27_E14_anAddressCannotBeMadeUp() throws {
        let lab = try FilterLab(filters: "{ rate_limit: { rate: 2/hour } }")
        let answers = try (0..<4).map {
            status(try lab.get(fields: "X-Forwarded-For: 198.51.100.\($0)\r\nForwarded: for=192.0.2.\($0)\r\n"))
        }
        #expect(answers == ["200", "200", "429", "429"])
        lab.end()
    }

    @Test func redisDecides() throws {
        let (lab, redis) = try lab("rate: 5/hour, store: redis", redis: ", database: 3, prefix: \"p:\"")
        let answer = try lab.get()
        #expect(status(answer) == "200" && answer.contains("ratelimit: \"client_ip\";r=4;t=0"), "\(answer)")
        #expect(redis.heard.map { $0[0] } == ["SELECT", "SCRIPT", "EVALSHA"])
        #expect(
            redis.heard[2][1...2] == ["name", "1"] && redis.heard[2][3].hasPrefix("p:{route%20/items/%7bid%7d:client_ip:b3600:"))
        redis.answer = { _ in "*5\r\n:0\r\n:0\r\n:0\r\n:3000000\r\n:1500000\r\n" }
        let refused = try lab.get()
        #expect(status(refused) == "429" && refused.contains("\r\nretry-after: 2\r\n"), "\(refused)")
        #expect(redis.connections.count == 1 && lab.isAtRest)
        lab.end()
        redis.close()
    }

    @Test func aScriptThatRedisHasForgottenIsSentWhole() throws {
        let (lab, redis) = try lab("rate: 5/hour, store: redis, on_failure: closed")
        redis.answer = { command in
            switch command[0] {
            case "SCRIPT": "$4\r\nname\r\n"
            case "EVALSHA": "-NOSCRIPT No matching script. Please use EVAL.\r\n"
            case "EVAL": "*5\r\n:1\r\n:1\r\n:4\r\n:0\r\n:0\r\n"
            default: nil
            }
        }
        #expect(status(try lab.get()) == "200")
        #expect(redis.heard.last?[1] == RateLimitScript.text)
        lab.end()
        redis.close()
    }

    @Test func silenceCostsTheTimeoutAndThenNothing() throws {
        let (lab, redis) = try lab("rate: 1000/hour, store: redis, on_failure: closed")
        let talking = redis.answer
        redis.answer = { $0[0] == "EVALSHA" ? nil : talking($0) }
        let client = try lab.connect()
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .milliseconds(95))
        #expect(client.heard.isEmpty)
        lab.world.run(for: .milliseconds(20))
        #expect(client.heard.hasPrefix("HTTP/1.1 503") && client.heard.contains("rate_limit.unavailable"))
        for _ in 0..<4 { _ = try lab.get() }
        let asked = redis.count("EVALSHA")
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .milliseconds(20))
        #expect(client.heard.components(separatedBy: "HTTP/1.1 503").count == 3, "the breaker refuses at once")
        #expect(redis.count("EVALSHA") <= asked + 1)
        redis.answer = talking
        lab.world.run(for: .seconds(30))
        let again = try lab.get()
        #expect(status(again) == "200", "it is asked again: \(again)")
        #expect(status(try lab.get()) == "200" && lab.isAtRest)
        lab.end()
        redis.close()
    }

    @Test(arguments: [("local", ["200", "200", "429"]), ("open", ["200", "200", "200"]), ("closed", ["503", "503", "503"])])
    func withoutRedisTheLimitDoesAsItWasTold(policy: String, answers: [String]) throws {
        let (lab, redis) = try lab("rate: 2/hour, store: redis, on_failure: \(policy)")
        redis.close()
        lab.world.run(for: .milliseconds(10))
        #expect(try answers.map { _ in status(try lab.get()) } == answers)
        lab.end()
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n\r\n", "-OOM command not allowed\r\n", "-MOVED 5 10.0.0.8:6379\r\n", "*1\r\n:1\r\n", "+OK\r\n",
        ":1\r\n:2\r\n",
        "-ASK 5 nowhere\r\n",
    ])
    func whatIsNoDecisionIsAFailure(text: String) throws {
        let (lab, redis) = try lab("rate: 2/hour, store: redis, on_failure: closed")
        let talking = redis.answer
        redis.answer = { $0[0] == "EVALSHA" ? text : talking($0) }
        #expect(status(try lab.get()) == "503")
        redis.answer = talking
        #expect(status(try lab.get()) == "200", "and the next is not harmed")
        #expect(lab.isAtRest)
        lab.end()
        redis.close()
    }

    /// Nobody knows whether it was counted, so that it is not asked again.
    @Test func aLostConnectionFailsWhatIsOnItOnce() throws {
        let (lab, redis) = try lab("rate: 2/hour, store: redis, on_failure: open")
        let talking = redis.answer
        redis.answer = { [unowned redis] command in
            if command[0] == "EVALSHA" {
                redis.connections.last?.connection?.abort()
                return nil
            }
            return talking(command)
        }
        let clients = try (0..<3).map { _ in try lab.connect() }
        for client in clients { client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n") }
        lab.world.run(for: .milliseconds(90))
        #expect(clients.allSatisfy { $0.heard.hasPrefix("HTTP/1.1 200") })
        #expect(redis.count("EVALSHA") <= 3)
        redis.answer = talking
        #expect(status(try lab.get()) == "200" && redis.connections.count >= 2)
        lab.end()
        redis.close()
    }

    @Test func aClientThatGoesAwayLeavesNothing() throws {
        let (lab, redis) = try lab("rate: 2/hour, store: redis, on_failure: open")
        let talking = redis.answer
        redis.answer = { $0[0] == "EVALSHA" ? nil : talking($0) }
        let client = try lab.connect()
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .milliseconds(50))
        client.hangUp()
        lab.world.run(for: .seconds(1))
        #expect(lab.isAtRest && lab.upstreams[0].peers.isEmpty)
        lab.end()
        redis.close()
    }
}
