// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import Glibc

/// A world in memory: hosts, a network between them, reactors on them, and a clock that jumps to whatever happens next.
///
/// Everything runs on the thread that calls `run`, in an order that the seed alone decides, so one seed gives one log, byte for
/// byte. Tasks on a simulated reactor run there too; a task that leaves for another executor leaves the simulation.
///
///     let world = SimulatedWorld(seed: 1)
///     let server = world.makeReactor(host: "10.0.0.1")
///     let client = world.makeReactor(host: "10.0.0.2")
///     …                                    // listen, connect, arm timers, start tasks
///     world.run(for: .seconds(3600))       // milliseconds later
package final class SimulatedWorld {
    package let seed: UInt64
    package let draw: Draw
    package internal(set) var now: Instant
    /// What happened: `log(_:)` lines of tests, and the network's own.
    package private(set) var log: [UInt8] = []
    /// Whether connections and faults are logged.
    package var logsNetwork = true
    package private(set) var reactors: [Reactor] = []

    /// What holds where nothing else was said.
    package var conditions = LinkConditions() {
        didSet { conditionsVersion += 1 }
    }

    /// 2026-01-01T00:00:00Z in nanoseconds since 1970: the wall clock at instant 0.
    package static let unixEpoch: Int64 = 1_767_225_600_000_000_000

    var events = EventQueue()
    var conditionsVersion = 0
    private(set) var hosts: [SimulatedHost] = []
    /// Which host a reactor runs on, by the reactor's place in the list.
    private(set) var hostOfReactor: [SimulatedHost] = []
    private var linkConditions: [HostPair: LinkConditions] = [:]
    private var endpointConditions: [SocketAddress: LinkConditions] = [:]
    private var partitions: Set<HostPair> = []
    private var sockets: [SimulatedSocket?] = [nil, nil, nil]  // as if 0, 1 and 2 were taken
    private var freeDescriptors: [Descriptor] = []
    private var connections: UInt64 = 0
    /// Ends of connections that were made, for faults that concern all of a host's.
    private var ends: [WeakEnd] = []
    private var pruneEndsAt = 1024

    private struct HostPair: Hashable {
        let from: Int
        let to: Int
    }

    private struct WeakEnd {
        weak var socket: SimulatedSocket?
    }

    package init(seed: UInt64, start: Instant = .origin) {
        self.seed = seed
        draw = Draw(seed: seed)
        now = start
    }

    deinit {
        // Channels and reactors hold each other until they are closed.
        for reactor in reactors { reactor.abandon() }
        // So do the two ends of a connection, and a host and its listeners.
        for end in ends { end.socket?.forget() }
        for host in hosts {
            for listener in host.listeners { listener.forget() }
            host.listeners = []
        }
    }

    // MARK: Hosts and reactors

    /// The host of that address (text, without a port), made when it is first named.
    package func host(_ text: String) -> SimulatedHost {
        guard let address = SocketAddress.parse(host: text, port: 0)?.folded else {
            preconditionFailure("\(text) is not the address of a host")
        }
        if let known = hosts.first(where: { $0.address.host == address.host }) { return known }
        let host = SimulatedHost(address: address, number: hosts.count)
        hosts.append(host)
        return host
    }

    /// A reactor on the host of that address. Several may share a host, as several threads of one process do.
    package func makeReactor(host text: String = "127.0.0.1") -> Reactor {
        let host = host(text)
        let reactor = Reactor(index: reactors.count, network: SimulatedNetwork(world: self, host: host), draw: draw)
        reactor.bindToCallingThread()
        reactors.append(reactor)
        hostOfReactor.append(host)
        return reactor
    }

    func hostOwning(_ address: SocketAddress) -> SimulatedHost? { hosts.first { $0.address.host == address.host } }

    // MARK: Conditions

    /// What holds from one host to another; `nil`: the world's conditions again.
    package func setConditions(_ conditions: LinkConditions?, from: SimulatedHost, to: SimulatedHost) {
        linkConditions[HostPair(from: from.number, to: to.number)] = conditions
        conditionsVersion += 1
    }

    /// What holds both ways for connections made to one address, before what holds for hosts.
    package func setConditions(_ conditions: LinkConditions?, endpoint: SocketAddress) {
        endpointConditions[endpoint] = conditions
        conditionsVersion += 1
    }

    func conditions(from: SimulatedHost, to: SimulatedHost, endpoint: SocketAddress?) -> LinkConditions {
        if let endpoint, let special = endpointConditions[endpoint] { return special }
        return linkConditions[HostPair(from: from.number, to: to.number)] ?? conditions
    }

    // MARK: Faults of hosts

    /// Nothing gets from one to the other, either way, until `heal`.
    package func partition(_ one: SimulatedHost, _ other: SimulatedHost) {
        partitions.insert(HostPair(from: min(one.number, other.number), to: max(one.number, other.number)))
        for end in openEnds() where end.host === one && end.peerHost === other || end.host === other && end.peerHost === one {
            end.watchSilence()
        }
    }

    package func heal(_ one: SimulatedHost, _ other: SimulatedHost) {
        partitions.remove(HostPair(from: min(one.number, other.number), to: max(one.number, other.number)))
    }

    func isPartitioned(_ one: SimulatedHost, _ other: SimulatedHost) -> Bool {
        !partitions.isEmpty
            && partitions.contains(HostPair(from: min(one.number, other.number), to: max(one.number, other.number)))
    }

    /// The host loses its power: its reactors never run again and nobody is told.
    package func kill(_ host: SimulatedHost) {
        host.isAlive = false
        endProcess(of: host)
        for end in openEnds() where end.peerHost === host { end.watchSilence() }
    }

    /// The host's process dies: its kernel resets what was open and goes on answering.
    package func crash(_ host: SimulatedHost) { endProcess(of: host) }

    /// A killed host is back, with nothing running on it: make a reactor.
    package func restart(_ host: SimulatedHost) { host.isAlive = true }

    private func endProcess(of host: SimulatedHost) {
        for (i, reactor) in reactors.enumerated() where hostOfReactor[i] === host { reactor.abandon() }
        for (i, socket) in sockets.enumerated() {
            guard let socket, socket.host === host else { continue }
            close(Descriptor(i), byReset: true)
        }
    }

    private func openEnds() -> [SimulatedSocket] { ends.compactMap { $0.socket }.filter { $0.isOpen } }

    // MARK: Sockets

    func socket(_ descriptor: Descriptor) -> SimulatedSocket? {
        let i = Int(descriptor)
        return i >= 0 && i < sockets.count ? sockets[i] : nil
    }

    /// Gives the socket a number; as in Linux, numbers are used again. `nil`: the host has no more.
    func open(_ socket: SimulatedSocket) -> Descriptor? {
        guard socket.host.descriptorCount < socket.host.descriptorLimit else { return nil }
        socket.host.descriptorCount += 1
        let descriptor: Descriptor
        if let free = freeDescriptors.popLast() {
            descriptor = free
            sockets[Int(free)] = socket
        } else {
            descriptor = Descriptor(sockets.count)
            sockets.append(socket)
        }
        socket.descriptor = descriptor
        return descriptor
    }

    func close(_ descriptor: Descriptor, byReset: Bool) {
        guard let socket = socket(descriptor) else { return }
        sockets[Int(descriptor)] = nil
        freeDescriptors.append(descriptor)
        socket.host.descriptorCount -= 1
        socket.close(byReset: byReset)
    }

    func nextConnection() -> UInt64 {
        connections += 1
        return connections
    }

    func remember(_ socket: SimulatedSocket) {
        if ends.count >= pruneEndsAt {
            ends.removeAll { $0.socket == nil }
            pruneEndsAt = max(1024, ends.count * 2)
        }
        ends.append(WeakEnd(socket: socket))
    }

    // MARK: Planning and telling

    func plan(_ action: EventQueue.Action, at time: Instant) { events.plan(action, at: time) }

    func plan(_ action: EventQueue.Action, after nanoseconds: Int64) {
        events.plan(action, at: now.advanced(byNanoseconds: nanoseconds))
    }

    /// Runs `body` between turns at `time`: a script's step, such as a fault that comes or goes.
    package func at(_ time: Instant, _ body: @escaping () -> Void) { plan(.script(body), at: max(time, now)) }

    package func after(_ delay: Duration, _ body: @escaping () -> Void) { at(now.advanced(by: delay), body) }

    /// Appends a line to the log, with the instant before it.
    package func log(_ text: String) {
        let seconds = now.nanoseconds / 1_000_000_000
        let fraction = String(now.nanoseconds % 1_000_000_000)
        log.append(contentsOf: "\(seconds).".utf8)
        log.append(contentsOf: repeatElement(48, count: max(9 - fraction.utf8.count, 0)))
        log.append(contentsOf: fraction.utf8)
        log.append(32)
        log.append(contentsOf: text.utf8)
        log.append(10)
    }

    /// What the network says of a connection.
    func note(_ event: String, _ socket: SimulatedSocket) {
        guard logsNetwork else { return }
        log("#\(socket.identity >> 1) \(event) \(socket.local) \(socket.remote.map { String(describing: $0) } ?? "-")")
    }
}
