// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import TLS
import Testing

@testable import Transport
@testable import Upstream

/// Active health checks against scripted endpoints on virtual time.
@Suite struct HealthCheckTests {
    private final class Witness: HealthObserver {
        private let world: SimulatedWorld
        /// "10.0.0.10:9001 out status.failure: status 500"
        private(set) var changes: [String] = []
        private(set) var changedAt: [Instant] = []
        private(set) var results: [EndpointHealth.Result] = []
        private(set) var resultAt: [Instant] = []

        init(_ world: SimulatedWorld) { self.world = world }

        var passed: Int { results.count { $0 == .passed } }
        var failed: Int { results.count { $0 == .failed } }

        func endpointChecked(_ cluster: UpstreamCluster, _ endpoint: Endpoint, _ result: EndpointHealth.Result) {
            results.append(result)
            resultAt.append(world.now)
        }

        func endpointChanged(_ cluster: UpstreamCluster, _ endpoint: Endpoint, isAvailable: Bool, _ finding: HealthFinding) {
            let why = [finding.reason?.rawValue, finding.detail].compactMap { $0 }.joined(separator: ": ")
            changes.append("\(endpoint.label) \(isAvailable ? "back" : "out") \(why)")
            changedAt.append(world.now)
        }
    }

    private static func settings(
        _ probe: HealthSettings.Probe = .http(path: "/health?x=1", host: nil, statuses: [200...399])
    ) -> HealthSettings {
        HealthSettings(probe: probe, interval: .seconds(1), timeout: .milliseconds(300), jitter: Share(tenThousandths: 0))
    }

    private func monitor(_ lab: UpstreamLab) -> (HealthMonitor, Witness) {
        let monitor = HealthMonitor(context: lab.edge)
        let witness = Witness(lab.world)
        monitor.observer = witness
        monitor.follow([lab.cluster])
        return (monitor, witness)
    }

    /// Nothing is under way any more, and nothing comes any more.
    private func over(_ lab: UpstreamLab, _ monitor: HealthMonitor) {
        monitor.stop()
        lab.world.run(for: .seconds(1))
        let accepted = lab.upstreams.reduce(0) { $0 + $1.accepted.count }
        lab.world.run(for: .seconds(60))
        #expect(lab.upstreams.reduce(0) { $0 + $1.accepted.count } == accepted, "stopped")
        lab.end()
        lab.world.run(for: .seconds(1))
        #expect(lab.edge.openConnections == 0)
    }

    private static func fails(_ peer: Peer, _ n: Int) { peer.say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") }
    private static func passes(_ peer: Peer, _ n: Int) { peer.say(PoolTests.ok) }

    @Test func anEndpointThatFailsIsOutAndComesBack() throws {
        let lab = try UpstreamLab(endpoints: 3, health: Self.settings())
        let (monitor, witness) = monitor(lab)
        lab.world.run(for: .milliseconds(5_010))
        #expect(witness.changes.isEmpty && witness.passed == 15 && witness.failed == 0)
        #expect(monitor.verdicts == [.healthy, .healthy, .healthy])
        #expect(
            lab.upstreams[1].requests[0]
                == "GET /health?x=1 HTTP/1.1\r\nhost: edge.example\r\nuser-agent: holdfast-health-check\r\n\r\n")
        #expect(
            lab.upstreams[1].peers.count == 5 && lab.upstreams[1].peers.allSatisfy { $0.isClosed }, "each on its own connection")

        lab.upstreams[1].answer = Self.fails
        lab.world.run(for: .seconds(3))
        #expect(witness.changes == ["10.0.0.11:9001 out status.failure: status 500"])
        #expect((0..<3).map { lab.cluster.picker.isAvailable($0) } == [true, false, true])
        // Requests pass it by, and checks are nothing to the guard.
        let before = lab.upstreams[1].requests.count
        let askers = (0..<30).map { _ in lab.ask(.get, "/real") }
        for asker in askers { lab.finish(asker) }
        #expect(askers.allSatisfy { $0.said == "200 ok" })
        #expect(lab.upstreams[1].requests.dropFirst(before).allSatisfy { !$0.contains("/real") })
        #expect(lab.guardState.evidence.failed == 0 && lab.guardState.counters.admitted == 30)

        lab.upstreams[1].answer = { peer, _ in peer.say("HTTP/1.1 204 OK\r\n\r\n") }
        lab.world.run(for: .seconds(2))
        #expect(witness.changes.last == "10.0.0.11:9001 back status 204" && lab.cluster.picker.isAvailable(1))
        let later = (0..<30).map { _ in lab.ask(.get, "/later") }
        for asker in later { lab.finish(asker) }
        #expect(lab.upstreams[1].requests.count { $0.contains("/later") } == 10, "it has its share again")
        over(lab, monitor)
    }

    /// From begin to begin exactly the interval, and out at the instant of the third failure.
    @Test func theInstantsAreExact() throws {
        let lab = try UpstreamLab(health: Self.settings())
        let (monitor, witness) = monitor(lab)
        lab.upstream.answer = Self.fails
        lab.world.run(for: .seconds(6))
        let accepted = lab.upstream.accepted
        #expect(accepted.count == 6 && accepted[0] < lab.at(1.001))
        for (one, next) in zip(accepted, accepted.dropFirst()) { #expect(next.nanoseconds(since: one) == 1_000_000_000) }
        // A round trip to connect and one to ask; the SYN took one way.
        #expect(witness.resultAt.map { $0.nanoseconds } == accepted.prefix(witness.resultAt.count).map { $0.nanoseconds + 300_000 })
        #expect(witness.changedAt == [witness.resultAt[2]])
        over(lab, monitor)
    }

    struct Way: CustomTestStringConvertible {
        var name: String
        var change: String
        var testDescription: String { name }
    }

    @Test(arguments: [
        Way(name: "nobody listens", change: "connect.refused: connect failed (errno 111)"),
        Way(name: "unreachable", change: "connect.timeout: no connection within the timeout"),
        Way(name: "silence", change: "timeout.per_try: no answer within the timeout"),
        Way(name: "no end", change: "timeout.per_try: the answer did not end within the timeout"),
        Way(name: "cut short", change: "body.truncated: the upstream closed inside its response"),
        Way(name: "closes", change: "reset.before_headers: the upstream closed the connection before its response"),
        Way(name: "resets", change: "reset.before_headers: the connection was reset"),
        Way(name: "another protocol", change: "protocol: "), Way(name: "too large a head", change: "protocol: "),
        Way(name: "status", change: "status.failure: status 404"),
    ])
    func eachWayToFail(way: Way) throws {
        let isMissing = way.name == "nobody listens"
        let lab = try UpstreamLab(endpoints: isMissing ? 0 : 1, missing: isMissing ? 1 : 0, health: Self.settings())
        let (monitor, witness) = monitor(lab)
        if way.name == "unreachable" { lab.world.partition(lab.world.host("10.0.0.1"), lab.world.host("10.0.0.10")) }
        lab.upstreams.first?.answer = { peer, _ in
            switch way.name {
            case "no end": peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegins")
            case "cut short":
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegins")
                peer.close()
            case "closes": peer.close()
            case "resets": peer.reset()
            case "another protocol": peer.say("SSH-2.0-OpenSSH_9.2\r\n\r\n")
            case "too large a head": peer.say("HTTP/1.1 200 OK\r\nx: " + String(repeating: "x", count: 1 << 20) + "\r\n\r\n")
            case "status": peer.say("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n")
            default: break
            }
        }
        lab.world.run(for: .seconds(5))
        #expect(witness.passed == 0 && (4...5).contains(witness.failed))
        #expect(witness.changes.count == 1 && witness.changes[0].contains(" out \(way.change)"), "\(witness.changes)")
        #expect(!lab.cluster.picker.isAvailable(0))
        over(lab, monitor)
    }

    /// What is left of a check is gone at its timeout, to the nanosecond, and the next one comes at its own time.
    @Test func aHangTakesItsTimeoutAndNoMore() throws {
        let lab = try UpstreamLab(health: Self.settings())
        let (monitor, witness) = monitor(lab)
        lab.upstream.answer = { _, _ in }
        lab.world.run(for: .milliseconds(10_300))
        let begun = lab.upstream.accepted.map { $0.nanoseconds - 100_000 }
        #expect(begun.count == 10 && witness.resultAt.map { $0.nanoseconds } == begun.map { $0 + 300_000_000 })
        #expect(lab.upstream.peers.dropLast().allSatisfy { $0.isClosed })
        over(lab, monitor)
    }

    /// A timeout longer than the interval: never two checks of one endpoint at once.
    @Test func checksOfOneEndpointDoNotOverlap() throws {
        var settings = Self.settings()
        settings.timeout = .seconds(3)
        let lab = try UpstreamLab(health: settings)
        let (monitor, witness) = monitor(lab)
        lab.upstream.answer = { _, _ in }
        for _ in 0..<200 {
            lab.world.run(for: .milliseconds(100))
            #expect(lab.edge.openConnections <= 1)
        }
        #expect((6...7).contains(witness.failed))
        for (one, next) in zip(lab.upstream.accepted, lab.upstream.accepted.dropFirst()) {
            #expect(next.nanoseconds(since: one) == 3_001_000_000)
        }
        over(lab, monitor)
    }

    /// An endpoint that is now well and now not: one change for each run that reaches its threshold.
    @Test func flapping() throws {
        let lab = try UpstreamLab(health: Self.settings())
        let (monitor, witness) = monitor(lab)
        // x fails, . passes.
        let script = Array("x.xx.xx.xxx.x.xx..xx.xxx..")
        lab.upstream.answer = { peer, n in script[(n - 1) % script.count] == "x" ? Self.fails(peer, n) : Self.passes(peer, n) }
        lab.world.run(while: { witness.results.count < script.count }, limit: .seconds(60))
        #expect(witness.changes.map { $0.split(separator: " ")[1] } == ["out", "back", "out", "back"])
        #expect(witness.changedAt == [10, 17, 23, 25].map { witness.resultAt[$0] })
        over(lab, monitor)
    }

    /// A long answer is read no further than its limit; its status has said enough.
    @Test func anAnswerWithoutEndIsCutAtTheLimit() throws {
        let lab = try UpstreamLab(health: Self.settings())
        let (monitor, witness) = monitor(lab)
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + String(repeating: "x", count: 200_000))
        }
        lab.world.run(for: .seconds(3))
        #expect(witness.passed == 3 && witness.failed == 0)
        #expect(lab.upstream.peers.allSatisfy { $0.isClosed })
        over(lab, monitor)
    }

    @Test func aConnectionIsEnoughForTCP() throws {
        let lab = try UpstreamLab(health: Self.settings(.tcp))
        let (monitor, witness) = monitor(lab)
        lab.world.run(for: .seconds(3))
        #expect(witness.passed == 3 && lab.upstream.accepted.count == 3)
        #expect(lab.upstream.peers.allSatisfy { $0.isClosed && $0.heard.isEmpty }, "nothing is said")
        lab.upstream.close()
        lab.world.run(for: .seconds(3))
        #expect(witness.changes == ["10.0.0.10:9001 out connect.refused: connect failed (errno 111)"])
        over(lab, monitor)
    }

    /// To an upstream that speaks HTTP/2 in clear nothing is said either, since its protocol needs no handshake.
    @Test func aConnectionIsEnoughForTCPWithHTTP2() throws {
        let lab = try UpstreamLab(wanted: .http2, health: Self.settings(.tcp))
        let (monitor, witness) = monitor(lab)
        lab.world.run(for: .seconds(3))
        #expect(witness.passed == 3 && lab.upstream.peers.allSatisfy { $0.isClosed && $0.heard.isEmpty })
        over(lab, monitor)
    }

    @Test func ownHostAndStatuses() throws {
        let lab = try UpstreamLab(
            health: Self.settings(.http(path: "/", host: "check.example:81", statuses: [204...204, 418...420])))
        let (monitor, witness) = monitor(lab)
        let statuses = [418, 204, 420, 200, 421, 417]
        lab.upstream.answer = { peer, n in peer.say("HTTP/1.1 \(statuses[min(n, 6) - 1]) X\r\nContent-Length: 0\r\n\r\n") }
        lab.world.run(for: .milliseconds(6_010))
        #expect(witness.results == [.passed, .passed, .passed, .failed, .failed, .failed])
        #expect(witness.changes == ["10.0.0.10:9001 out status.failure: status 417"])
        #expect(lab.upstream.requests[0].hasPrefix("GET / HTTP/1.1\r\nhost: check.example:81\r\n"))
        over(lab, monitor)
    }

    // MARK: HTTP/2 and TLS

    @Test func http2EndpointsAreAskedInHTTP2() throws {
        let lab = try UpstreamLab(wanted: .http2, health: Self.settings())
        let server = HTTP2UpstreamTests.Server(lab)
        let (monitor, witness) = monitor(lab)
        lab.world.run(for: .milliseconds(4_010))
        #expect(witness.passed == 4 && witness.failed == 0)
        #expect(server.streams.map(\.peer) == [0, 1, 2, 3] && server.streams.allSatisfy { $0.stream == 1 }, "a connection each")
        #expect(lab.upstream.peers.allSatisfy { $0.isClosed })
        server.answer = { peer, stream, _ in peer.say(HTTP2UpstreamTests.Frame.status(stream, "503")) }
        lab.world.run(for: .seconds(3))
        #expect(witness.changes == ["10.0.0.10:9001 out status.failure: status 503"])
        server.answer = { peer, stream, _ in peer.say(HTTP2UpstreamTests.Frame.answer(stream)) }
        lab.world.run(for: .seconds(2))
        #expect(witness.changes.count == 2 && lab.cluster.picker.isAvailable(0))
        over(lab, monitor)
    }

    /// RST_STREAM, GOAWAY before the answer, a failing head with a body behind it, silence: all are failures, and each connection ends.
    @Test(arguments: ["reset", "goaway", "head and body", "silence", "http1"])
    func http2WaysToFail(way: String) throws {
        typealias Frame = HTTP2UpstreamTests.Frame
        let lab = try UpstreamLab(wanted: .http2, health: Self.settings())
        let server = HTTP2UpstreamTests.Server(lab)
        let (monitor, witness) = monitor(lab)
        server.answer = { peer, stream, _ in
            switch way {
            case "reset": peer.say(Frame.reset(stream, 2))
            case "goaway": peer.say(Frame.goAway(last: 0))
            case "head and body":
                peer.say(Frame.make(1, 4, stream, [0x08, 3] + Array("500".utf8)) + Frame.make(0, 1, stream, Array("no".utf8)))
            default: break
            }
        }
        if way == "http1" { lab.upstream.raw = { peer, _ in peer.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") } }
        lab.world.run(for: .milliseconds(4_500))
        #expect(witness.passed == 0 && witness.failed == 4 && witness.changes.count == 1, "\(witness.changes)")
        #expect(lab.upstream.peers.prefix(4).allSatisfy { $0.isClosed })
        over(lab, monitor)
    }

    struct Secure: CustomTestStringConvertible {
        var name: String
        var probe = HealthSettings.Probe.http(path: "/", host: nil, statuses: [200...399])
        var wanted = UpstreamProtocol.http1
        var offered = ["http/1.1"]
        var certificate = "edge.example"
        var change: String?
        var testDescription: String { name }
    }

    @Test(arguments: [
        Secure(name: "GET over TLS"), Secure(name: "TCP over TLS", probe: .tcp),
        Secure(name: "TCP over TLS with h2 agreed on", probe: .tcp, wanted: .http2, offered: ["h2"]),
        Secure(name: "another's certificate", certificate: "other.example", change: "tls.verify: "),
        Secure(name: "another's certificate, TCP", probe: .tcp, certificate: "other.example", change: "tls.verify: "),
        Secure(name: "no h2", probe: .tcp, wanted: .http2, offered: ["http/1.1"], change: "tls.handshake: "),
        Secure(name: "hangs in the handshake", change: "tls.timeout: no TLS handshake within the timeout"),
    ])
    func overTLS(row: Secure) throws {
        let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
        let issued = try authority.issue(.init(names: [row.certificate], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
        var server = ServerTLSSettings(certificates: [CertificateSource(chain: .text(issued.chain), key: .text(issued.key))])
        server.applicationProtocols = row.offered
        var client = ClientTLSSettings()
        client.authorities = .text(authority.rootPEM)
        client.applicationProtocols = row.wanted == .http2 ? ["h2"] : ["http/1.1"]
        let lab = try UpstreamLab(
            wanted: row.wanted, tls: try ClientTLSContext(settings: client), health: Self.settings(row.probe))
        // Without TLS the other end takes the hello for bytes and says nothing.
        if !row.name.hasPrefix("hangs") {
            lab.upstream.tls = try ServerTLSContext(settings: server)
        } else {
            lab.upstream.act = { _ in }
        }
        let (monitor, witness) = monitor(lab)
        lab.world.run(for: .milliseconds(4_400))
        if let change = row.change {
            #expect(
                witness.passed == 0 && witness.changes.count == 1 && witness.changes[0].contains(" out \(change)"),
                "\(witness.changes)")
        } else {
            #expect(witness.passed == 4 && witness.failed == 0 && witness.changes.isEmpty)
        }
        if row.name == "GET over TLS" { #expect(lab.upstream.requests.count == 4) }
        #expect(lab.upstream.peers.prefix(4).allSatisfy { $0.isClosed })
        over(lab, monitor)
    }

    // MARK: Evidence

    private func isOpen(_ lab: UpstreamLab) -> Bool {
        if case .open = lab.guardState.breaker { true } else { false }
    }

    /// Checks that pass clear nothing that requests have shown, and checks that fail show the breaker nothing.
    @Test func checksAreNoEvidence() throws {
        let lab = try UpstreamLab(health: Self.settings()) {
            $0.breaker.minimumCalls = 5
            $0.retries.attempts = 1
        }
        let (monitor, witness) = monitor(lab)
        lab.upstream.answer = { peer, _ in
            lab.upstream.requests.last?.contains("/health") == true ? Self.passes(peer, 0) : Self.fails(peer, 0)
        }
        for _ in 0..<5 { lab.finish(lab.ask(.get, "/real")) }
        #expect(isOpen(lab))
        lab.world.run(for: .seconds(3))
        #expect(witness.passed >= 2 && isOpen(lab) && lab.guardState.transitions.opened == 1)
        over(lab, monitor)
        let other = try UpstreamLab(health: Self.settings()) { $0.breaker.minimumCalls = 5 }
        let (second, seen) = self.monitor(other)
        other.upstream.answer = Self.fails
        other.world.run(for: .seconds(20))
        #expect(seen.failed == 20 && other.guardState.breaker == .closed && other.guardState.evidence.completed == 0)
        over(other, second)
    }

    /// With all endpoints out the picker panics and uses all of them (semantics, section 9): checks alone never end a service.
    @Test func L5_E10_withAllEndpointsOutRequestsGoOn() throws {
        let lab = try UpstreamLab(endpoints: 2, health: Self.settings())
        let (monitor, witness) = monitor(lab)
        for upstream in lab.upstreams {
            upstream.answer = { [unowned upstream] peer, _ in
                upstream.requests.last?.contains("/health") == true ? Self.fails(peer, 0) : Self.passes(peer, 0)
            }
        }
        lab.world.run(for: .seconds(4))
        #expect(witness.changes.count == 2 && !lab.cluster.picker.isAvailable(0) && !lab.cluster.picker.isAvailable(1))
        let askers = (0..<10).map { _ in lab.ask(.get, "/real") }
        for asker in askers { lab.finish(asker) }
        #expect(askers.allSatisfy { $0.said == "200 ok" })
        #expect(lab.upstreams.map { $0.requests.count { $0.contains("/real") } } == [5, 5])
        over(lab, monitor)
    }

    // MARK: Reload and drain

    /// An endpoint that remains keeps its verdict, its run and its rhythm, whatever happens to the others.
    @Test func aReloadKeepsVerdicts() throws {
        let lab = try UpstreamLab(endpoints: 3, health: Self.settings())
        let (monitor, witness) = monitor(lab)
        lab.upstreams[1].answer = Self.fails
        lab.world.run(for: .milliseconds(5_010))
        #expect(witness.changes.count == 1 && !lab.cluster.picker.isAvailable(1))
        let asked = lab.upstreams.map { $0.accepted.count }

        // The first endpoint goes, so that the others have other places.
        let next = lab.again(health: Self.settings(), endpoints: Array(lab.cluster.endpoints.dropFirst()))
        #expect(!next.picker.isAvailable(0) && next.picker.isAvailable(1), "before any reactor goes by it")
        monitor.follow([next])
        #expect(monitor.verdicts == [.unhealthy, .healthy])
        lab.upstreams[1].answer = Self.passes
        lab.world.run(for: .seconds(1))
        #expect(!next.picker.isAvailable(0), "one pass")
        monitor.follow([lab.again(health: Self.settings())])
        let third = lab.again(health: Self.settings())
        monitor.follow([third])
        lab.world.run(for: .seconds(1))
        #expect(third.picker.isAvailable(1) && witness.changes.count == 2, "the run goes on over two reloads")
        #expect(
            lab.upstreams[1].accepted.count == asked[1] + 2 && lab.upstreams[2].accepted.count == asked[2] + 2, "the rhythm too")
        for (one, later) in zip(lab.upstreams[2].accepted, lab.upstreams[2].accepted.dropFirst()) {
            #expect(later.nanoseconds(since: one) == 1_000_000_000)
        }
        over(lab, monitor)
    }

    /// A verdict that comes while the new configuration is on its way is not lost.
    @Test func aVerdictDuringAReloadHolds() throws {
        let lab = try UpstreamLab(endpoints: 2, health: Self.settings())
        let (monitor, _) = monitor(lab)
        lab.upstreams[0].answer = Self.fails
        lab.world.run(for: .seconds(2))
        let next = lab.again(health: Self.settings())
        #expect(next.picker.isAvailable(0))
        lab.world.run(for: .seconds(2))
        monitor.follow([next])
        #expect(!next.picker.isAvailable(0) && next.picker.isAvailable(1))
        over(lab, monitor)
    }

    /// An endpoint that requests have shown to be bad and checks to be well: each is known by itself, over a reload too.
    @Test func anEjectionIsNoVerdict() throws {
        let lab = try UpstreamLab(endpoints: 3, health: Self.settings())
        lab.cluster.picker.setEjected(true, 1)
        let (monitor, witness) = monitor(lab)
        #expect(monitor.verdicts == [.unknown, .unknown, .unknown])
        lab.world.run(for: .seconds(4))
        #expect(monitor.verdicts == [.healthy, .healthy, .healthy] && witness.changes.isEmpty)
        #expect(!lab.cluster.picker.isAvailable(1) && lab.cluster.picker.isEjected(1), "checks that pass clear nothing")
        let next = lab.again(health: Self.settings())
        #expect(next.picker.isWell(1), "nor does a reload make one of it")
        monitor.follow([next])
        #expect(next.picker.isWell(1))
        over(lab, monitor)
    }

    @Test func otherSettingsBeginAnewAndNoneStop() throws {
        let lab = try UpstreamLab(endpoints: 2, health: Self.settings())
        let (monitor, witness) = monitor(lab)
        lab.upstreams[0].answer = Self.fails
        lab.world.run(for: .seconds(4))
        #expect(!lab.cluster.picker.isAvailable(0) && witness.changes.count == 1)
        var other = Self.settings()
        other.healthyAfter = 1
        let changed = lab.again(health: other)
        #expect(changed.picker.isAvailable(0) && changed.picker.isAvailable(1))
        monitor.follow([changed])
        #expect(monitor.verdicts == [.unknown, .unknown])
        lab.world.run(for: .seconds(4))
        #expect(!changed.picker.isAvailable(0), "found again by the new rules")
        let asked = lab.requestsSeen
        let unchecked = lab.again(health: nil)
        monitor.follow([unchecked])
        lab.world.run(for: .seconds(5))
        #expect(unchecked.picker.isAvailable(0) && lab.requestsSeen == asked && monitor.verdicts.isEmpty, "no longer checked")
        over(lab, monitor)
    }

    /// A reload that is taken back after checks were stopped: the verdict is in the picker, and a pass still brings the endpoint back.
    @Test func aReloadThatIsTakenBackKeepsTheVerdict() throws {
        let lab = try UpstreamLab(endpoints: 2, health: Self.settings())
        let (monitor, _) = monitor(lab)
        lab.upstreams[0].answer = Self.fails
        lab.world.run(for: .seconds(4))
        monitor.follow([])
        monitor.follow([lab.cluster])
        #expect(monitor.verdicts == [.unhealthy, .unknown] && !lab.cluster.picker.isAvailable(0))
        lab.upstreams[0].answer = Self.passes
        lab.world.run(for: .seconds(3))
        #expect(lab.cluster.picker.isAvailable(0))
        over(lab, monitor)
    }

    /// Stopping ends the check under way at once, and a reload after it begins none.
    @Test func aDrainStopsAll() throws {
        let lab = try UpstreamLab(endpoints: 2, health: Self.settings())
        let (monitor, witness) = monitor(lab)
        for upstream in lab.upstreams { upstream.answer = { _, _ in } }
        lab.world.run(while: { lab.edge.openConnections == 0 }, limit: .seconds(2))
        #expect(lab.edge.openConnections > 0)
        let known = witness.results.count
        monitor.stop()
        #expect(lab.edge.openConnections == 0)
        monitor.follow([lab.again(health: Self.settings())])
        let accepted = lab.upstreams.map { $0.accepted.count }
        lab.world.run(for: .seconds(30))
        #expect(witness.results.count == known && lab.edge.openConnections == 0)
        #expect(lab.upstreams.map { $0.accepted.count }.reduce(0, +) <= accepted.reduce(0, +) + 1, "but what was on its way")
        lab.end()
    }
}
