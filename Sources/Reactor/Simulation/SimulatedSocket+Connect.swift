// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// How a connection comes about.
extension SimulatedSocket {
    /// Linux repeats the first packet after 1, 2, 4, … s and gives up after six (tcp_syn_retries).
    private static let longestConnect: Int64 = 127_000_000_000

    func startConnecting() { world.plan(.knock(self, attempt: 0), after: drawLatency()) }

    /// The first packet reaches the other host, or does not.
    func knock(attempt: Int) {
        guard state == .connecting, isOpen, let endpoint else { return }
        guard let target = peerHost else {
            answered(EHOSTUNREACH)
            return
        }
        let link = conditions
        if attempt == 0 && happens(link.blackholed) {
            world.note("fault blackhole", self)
            isSilent = true
        }
        guard isReachable else {
            knockAgain(after: attempt)
            return
        }
        if happens(link.refused) {
            world.note("fault refusal", self)
            world.plan(.answered(self, errno: ECONNREFUSED), after: drawLatency())
            return
        }
        let candidates = target.listeners.filter { $0.listens(at: endpoint) }
        guard !candidates.isEmpty else {
            world.plan(.answered(self, errno: ECONNREFUSED), after: drawLatency())
            return
        }
        let listener = candidates[candidates.count == 1 ? 0 : Int(drawBits(.network) % UInt64(candidates.count))]
        guard listener.waiting.count < listener.backlog else {
            knockAgain(after: attempt)
            return
        }
        let server = SimulatedSocket(world: world, host: target, state: .established, local: endpoint, identity: identity | 1)
        server.remote = local
        server.endpoint = endpoint
        server.peer = self
        server.peerHost = host
        server.keepAlive = listener.keepAlive
        server.userTimeout = listener.userTimeout
        peer = server
        world.remember(server)
        listener.waiting.append(server)
        listener.notify()
        let answer = world.now.advanced(byNanoseconds: server.drawLatency())
        // Nothing that the server says arrives before its answer.
        server.lastArrival = answer
        world.plan(.answered(self, errno: 0), at: answer)
    }

    private func knockAgain(after attempt: Int) {
        let limit = userTimeout.map { min($0.wholeNanoseconds, SimulatedSocket.longestConnect) } ?? SimulatedSocket.longestConnect
        let since = stalledSince ?? world.now
        stalledSince = since
        let end = since.advanced(byNanoseconds: limit)
        guard attempt < 6, world.now < end else {
            if world.now < end { world.plan(.answered(self, errno: ETIMEDOUT), at: end) } else { answered(ETIMEDOUT) }
            return
        }
        world.plan(
            .knock(self, attempt: attempt + 1), at: min(end, world.now.advanced(byNanoseconds: 1_000_000_000 << Int64(attempt))))
    }

    private func listens(at address: SocketAddress) -> Bool {
        guard local.port == address.port else { return false }
        return local.isWildcard || local.host == address.host
    }

    /// The answer to our connect: 0 or an `errno`.
    func answered(_ errno: Int32) {
        stalledSince = nil
        guard isOpen else {
            // We have gone meanwhile: the server learns it by a reset.
            if errno == 0, let peer { world.plan(.reset(peer), after: drawLatency()) }
            peer = nil
            return
        }
        guard state == .connecting else { return }
        if errno == 0 {
            state = .established
            world.note("connected", self)
            notify()
        } else {
            world.note("connect failed \(errno)", self)
            fail(errno)
        }
    }
}
