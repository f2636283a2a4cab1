// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import DequeModule
import Glibc

/// One end of a simulated connection, or a listener. A small TCP: ordered bytes, windows, FIN, RST and their errors, as
/// Linux shows them to a process.
final class SimulatedSocket {
    enum State { case listening, connecting, established, failed }

    /// Something on the way to the peer.
    enum Item {
        case bytes([UInt8])
        case end
        case reset
    }

    unowned let world: SimulatedWorld
    let host: SimulatedHost
    var state: State
    var local: SocketAddress
    var remote: SocketAddress?
    /// The address that was connected to: what conditions of an endpoint go by.
    var endpoint: SocketAddress?
    /// The other end; let go when nothing more goes there.
    var peer: SimulatedSocket?
    var peerHost: SimulatedHost?
    /// Number of the connection and its side: what draws depend on.
    let identity: UInt64
    var keepAlive: KeepAlive?
    var userTimeout: Duration?

    /// The process has it open. A socket that it has closed may still be sending.
    var isOpen = true
    /// -1 while a connection waits to be accepted.
    var descriptor: Descriptor = -1
    var reactor: Reactor?
    var token: UInt64 = 0

    // A listener's.
    var backlog = 0
    var sharesPort = false
    var waiting = Deque<SimulatedSocket>()

    // Coming in.
    var inbox = ByteBuffer()
    var endReceived = false
    /// Reported once, by the next call.
    var error: Int32 = 0

    // Going out.
    var outbox = ByteBuffer()
    var endQueued = false
    var endSent = false
    /// Bytes that have left and not arrived.
    var inFlight = 0
    /// Bytes that have left, ever.
    var departed = 0
    var wire = Deque<(arrival: Instant, item: Item)>()
    var isArrivalPlanned = false
    var isRoomPlanned = false
    /// A send was refused or cut: it is told when there is room again.
    var isBlocked = false
    /// When the line is free for the next segment, at the link's bandwidth.
    var lineFreeAt = Instant.origin
    var lastArrival = Instant.origin
    /// Since when nothing gets through, and after what time the next attempt is made.
    var stalledSince: Instant?
    var retransmission: Int64 = SimulatedSocket.firstRetransmission
    /// The peer has seen an end that we did not send; what we send vanishes.
    var isTruncated = false
    /// Nothing gets through any more, either way.
    var isSilent = false
    private var draws: UInt64 = 0
    private var cachedConditions: LinkConditions?
    private var cachedVersion = -1

    static let firstRetransmission: Int64 = 200_000_000
    static let longestRetransmission: Int64 = 60_000_000_000
    /// Linux gives up after 15 retransmissions, about 924 s (tcp(7), tcp_retries2).
    static let givesUpAfter: Int64 = 924_000_000_000

    init(world: SimulatedWorld, host: SimulatedHost, state: State, local: SocketAddress, identity: UInt64) {
        self.world = world
        self.host = host
        self.state = state
        self.local = local
        self.identity = identity
    }

    /// What holds for bytes that go out of here.
    var conditions: LinkConditions {
        if let cachedConditions, cachedVersion == world.conditionsVersion { return cachedConditions }
        let fresh = world.conditions(from: host, to: peerHost ?? host, endpoint: endpoint)
        cachedConditions = fresh
        cachedVersion = world.conditionsVersion
        return fresh
    }

    /// What epoll would say of the socket now.
    var readiness: Readiness {
        switch state {
        case .listening: return waiting.isEmpty ? [] : .readable
        case .connecting: return []
        case .failed: return [.readable, .writable, .hangUp]
        case .established:
            var result = Readiness()
            if !inbox.isEmpty || endReceived { result.insert(.readable) }
            if endReceived { result.insert(.hangUp) }
            // Linux calls a socket writable when a third of its buffer is free (sk_stream_is_writeable).
            if sendRoom >= conditions.sendBuffer / 3 { result.insert(.writable) }
            return result
        }
    }

    var sendRoom: Int { max(0, conditions.sendBuffer - outbox.count - inFlight) }

    /// An edge: tells the reactor what is ready. Only between turns; within one, plan a notice.
    func notify() {
        guard isOpen, let reactor else { return }
        let ready = readiness
        if !ready.isEmpty { reactor.note(token, ready) }
    }

    // MARK: Draws

    func drawBits(_ purpose: Draw.Purpose) -> UInt64 {
        draws += 1
        return world.draw.bits(request: identity, purpose, draws)
    }

    func happens(_ share: Double) -> Bool {
        if share <= 0 { return false }
        if share >= 1 { return true }
        return Double(drawBits(.fault) >> 11) * 0x1p-53 < share
    }

    func pick(_ range: ClosedRange<Int>) -> Int {
        guard range.count > 1 else { return max(range.lowerBound, 1) }
        return max(range.lowerBound + Int(drawBits(.network) % UInt64(range.count)), 1)
    }

    /// Whether the conditions' faults concern this connection: one draw for both its sides, ever.
    var isFaulty: Bool {
        let share = conditions.faultShare
        return share >= 1 || world.draw.unit(request: identity >> 1, .fault) < share
    }

    /// Latency of one segment to the peer.
    func drawLatency() -> Int64 {
        let link = conditions
        var total = max(link.latency.wholeNanoseconds, 0)
        let jitter = max(link.jitter.wholeNanoseconds, 0)
        if jitter > 0 { total += Int64(drawBits(.network) % UInt64(jitter + 1)) }
        if happens(link.loss) { total += SimulatedSocket.firstRetransmission }
        return total
    }

    /// Whether anything that is sent now gets to the peer.
    var isReachable: Bool {
        guard !isSilent, let peerHost else { return false }
        return host.isAlive && peerHost.isAlive && !world.isPartitioned(host, peerHost)
    }

    // MARK: The process's calls

    func receive(into memory: UnsafeMutableRawBufferPointer) -> IOResult {
        if !inbox.isEmpty {
            let n = min(inbox.count, memory.count)
            unsafe inbox.withUnsafeReadable { unsafe memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0.prefix(n))) }
            inbox.consume(n)
            peer?.roomMade()
            return .bytes(n)
        }
        if let failure = takeError() { return .failed(failure) }
        if endReceived || state == .failed { return .endOfStream }
        return state == .listening ? .failed(EINVAL) : .wouldBlock
    }

    func send(_ bytes: UnsafeRawBufferPointer) -> IOResult {
        if let failure = takeError() { return .failed(failure) }
        switch state {
        case .connecting: return .wouldBlock
        case .listening, .failed: return .failed(EPIPE)
        case .established: break
        }
        if endQueued { return .failed(EPIPE) }
        if unsafe bytes.isEmpty { return .bytes(0) }
        let room = sendRoom
        if room == 0 {
            isBlocked = true
            return .wouldBlock
        }
        var n = min(room, bytes.count)
        if let limit = conditions.sendLimit, n > 1 { n = min(n, pick(limit)) }
        unsafe outbox.append(UnsafeRawBufferPointer(rebasing: bytes.prefix(n)))
        if n < bytes.count {
            isBlocked = true
            if n < room { world.plan(.room(self), after: 1_000) }
        }
        transmit()
        return .bytes(n)
    }

    func takeError() -> Int32? {
        guard error != 0 else { return nil }
        let failure = error
        error = 0
        return failure
    }

    func shutdownWrite() {
        guard state == .established, !endQueued else { return }
        endQueued = true
        transmit()
    }

    /// The process lets go of it. Bytes that it has not read turn the close into a reset, as in Linux.
    func close(byReset: Bool) {
        guard isOpen else { return }
        isOpen = false
        reactor = nil
        switch state {
        case .listening:
            host.listeners.removeAll { $0 === self }
            for socket in waiting { socket.close(byReset: true) }
            waiting.removeAll()
        case .connecting:
            state = .failed
        case .established:
            if byReset || !inbox.isEmpty {
                sendReset()
            } else if !endQueued {
                endQueued = true
                transmit()
            }
        case .failed:
            break
        }
        inbox = ByteBuffer()
        letGo()
    }

    // MARK: What comes from outside

    /// The connection is over with `errno`.
    func fail(_ errno: Int32) {
        guard state == .connecting || state == .established else { return }
        state = .failed
        error = errno
        outbox = ByteBuffer()
        wire.removeAll()
        inFlight = 0
        notify()
        letGo()
    }

    /// The world ends: lets go of everything that might hold on to it.
    func forget() {
        peer = nil
        reactor = nil
        wire.removeAll()
        waiting.removeAll()
    }

    /// Lets go of the peer once nothing more goes there, so that the two ends do not keep each other alive.
    func letGo() {
        guard !isOpen else { return }
        if (outbox.isEmpty && wire.isEmpty) || peer?.isOpen == false { peer = nil }
    }
}
