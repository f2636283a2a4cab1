// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import RateLimits
import Reactor
import Resilience
import TLS
import Telemetry

/// Why a decision could not be had from Redis: a word of the metric.
enum RedisFailure: String, CaseIterable, Error {
    /// No connection could be made, or it was lost.
    case connection
    case tls
    case timeout
    /// User or password is wrong, the database is not there, or a command is forbidden.
    case setup
    /// The server said that it cannot do it: out of memory, loading, a cluster without all its slots.
    case refused
    /// A redirect to another server where `cluster` is off, or to one that is named and not numbered, or too many of them.
    case redirect
    /// It does not speak as Redis does.
    case `protocol`
    /// Redis failed a moment ago, and is not asked for now.
    case breaker
    /// Too many decisions are under way.
    case full
}

/// How Redis is reached, for all reactors: its guard with them.
final class RedisPlan: Sendable {
    let settings: Configuration.Redis
    let servers: [SocketAddress]
    let tls: ClientTLSContext?
    /// Sent before anything else.
    let credentials: [[UInt8]]?
    let guardian: Guard
    private let failures: [RedisFailure: Counter]
    private let decisions: Counter

    /// - Parameter previous: the plan before, whose guard goes on if it is for the same Redis.
    init(
        _ settings: Configuration.Redis, after previous: RedisPlan?, registry: MetricsRegistry, draw: Draw, wallTime: Int64?
    ) throws(FilterComplaint) {
        self.settings = settings
        var servers: [SocketAddress] = []
        for server in settings.servers {
            guard let address = SocketAddress(server) else {
                throw FilterComplaint("redis: \(server) is not an address of this system")
            }
            servers.append(address)
        }
        self.servers = servers
        if let tls = settings.tls { self.tls = try RedisPlan.context(tls, wallTime) } else { tls = nil }
        credentials = try settings.password.map { password throws(FilterComplaint) in
            do throws(SecretError) {
                var bytes = try password.reveal()
                // The line's end that an editor leaves.
                while let last = bytes.last, last == 10 || last == 13 { bytes.removeLast() }
                return [Array("AUTH".utf8)] + (settings.username.map { [Array($0.utf8)] } ?? []) + [bytes]
            } catch { throw FilterComplaint("redis: \(error)") }
        }
        var guardSettings = GuardSettings()
        guardSettings.breaker.consecutiveFailures = 5
        guardSettings.breaker.slowCall = nil
        guardSettings.breaker.saturation = false
        guardSettings.breaker.halfOpenCalls = 1
        guardSettings.breaker.openFor = .seconds(1)
        guardSettings.breaker.openMax = .seconds(10)
        // Who is refused by a ramp would be counted by each gateway for itself.
        guardSettings.breaker.ramp = .zero
        guardSettings.bulkhead.concurrent = settings.pipeline
        guardSettings.bulkhead.queue = 0
        if let previous, previous.settings == settings {
            guardian = previous.guardian
        } else {
            guardian = Guard(guardSettings, draw: draw, identity: 0x7265_6469_73)
        }
        failures = Dictionary(
            uniqueKeysWithValues: RedisFailure.allCases.map { failure in
                (
                    failure,
                    registry.counter(
                        "holdfast_redis_failures_total", help: "Decisions that could not be had from Redis.",
                        labels: [("reason", failure.rawValue)])
                )
            })
        decisions = registry.counter("holdfast_redis_decisions_total", help: "Decisions that Redis made.")
        let guardian = guardian
        registry.gauge("holdfast_redis_available", help: "1 while Redis is asked, 0 while its breaker is open.") {
            guardian.snapshot().breaker == .closed ? 1 : 0
        }
    }

    func count(_ failure: RedisFailure, shard: Int) { failures[failure]?.add(shard: shard) }
    func countDecision(shard: Int) { decisions.add(shard: shard) }

    private static func context(_ tls: Configuration.UpstreamTLS, _ wallTime: Int64?) throws(FilterComplaint) -> ClientTLSContext {
        var settings = ClientTLSSettings()
        settings.authorities = tls.ca.map { .file($0) }
        settings.verifiesPeer = tls.verify
        settings.minimumVersion = tls.minimumVersion == .tls12 ? .tls12 : .tls13
        settings.applicationProtocols = []
        if let certificate = tls.clientCertificate {
            switch certificate.key.source {
            case .file(let path): settings.clientCertificate = CertificateSource(chain: .file(certificate.chain), key: .file(path))
            case .environment(let name):
                do throws(SecretError) {
                    let key = String(decoding: try certificate.key.reveal(), as: UTF8.self)
                    settings.clientCertificate = CertificateSource(
                        chain: .file(certificate.chain), key: .text(key, name: "environment variable \(name)"))
                } catch { throw FilterComplaint("redis: \(error)") }
            }
        }
        do throws(TLSConfigurationError) {
            return try ClientTLSContext(settings: settings, wallTime: wallTime)
        } catch { throw FilterComplaint("redis: \(error.message)") }
    }
}
