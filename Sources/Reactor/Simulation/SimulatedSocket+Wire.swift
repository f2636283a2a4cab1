// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// How bytes get from one end to the other.
extension SimulatedSocket {
    /// Puts on the wire what the peer's window has room for, then the end if it is due.
    func transmit() {
        guard state == .established else { return }
        let link = conditions
        let faulty = isFaulty && !isSilent
        if isTruncated { outbox.removeAll() }
        while !outbox.isEmpty, let peer {
            // Bytes to a peer whose process has closed still leave; they come back as a reset.
            let window = peer.isOpen ? link.receiveWindow - peer.inbox.count - inFlight : Int.max
            guard window > 0 else { break }
            var size = min(outbox.count, window, pick(link.segment))
            if faulty, let limit = nextFault(in: link) {
                if limit == departed {
                    strike(link)
                    return
                }
                size = min(size, limit - departed)
            }
            var bytes = unsafe outbox.withUnsafeReadable { unsafe Array($0.prefix(size)) }
            outbox.consume(size)
            if faulty && happens(link.corrupted) { corrupt(&bytes) }
            departed += size
            inFlight += size
            var free = max(world.now, lineFreeAt)
            if let rate = link.bytesPerSecond, rate > 0 {
                free = free.advanced(byNanoseconds: Int64((Double(size) / Double(rate) * 1e9).rounded(.up)))
            }
            lineFreeAt = free
            put(.bytes(bytes), at: free.advanced(byNanoseconds: drawLatency()))
        }
        if faulty, nextFault(in: link) == departed {
            strike(link)
            return
        }
        if outbox.isEmpty && endQueued && !endSent {
            endSent = true
            put(.end, at: max(world.now, lineFreeAt).advanced(byNanoseconds: drawLatency()))
        }
    }

    /// The next position of this direction at which a fault strikes.
    private func nextFault(in link: LinkConditions) -> Int? {
        var first: Int?
        for position in [link.resetAfter, link.silentAfter, link.truncatedAfter] {
            if let position, position >= departed { first = min(first ?? position, position) }
        }
        return first
    }

    private func strike(_ link: LinkConditions) {
        if link.resetAfter == departed {
            guard !isTruncated else { return }
            world.note("fault reset", self)
            isTruncated = true
            outbox.removeAll()
            put(.reset, at: world.now.advanced(byNanoseconds: drawLatency()))
            world.plan(.reset(self), at: lastArrival.advanced(byNanoseconds: drawLatency()))
        } else if link.silentAfter == departed {
            world.note("fault silence", self)
            fallSilent()
            peer?.fallSilent()
            transmit()
        } else if !isTruncated {
            world.note("fault truncation", self)
            isTruncated = true
            outbox.removeAll()
            endSent = true
            put(.end, at: max(world.now, lineFreeAt).advanced(byNanoseconds: drawLatency()))
        }
    }

    private func corrupt(_ bytes: inout [UInt8]) {
        let bits = drawBits(.fault)
        let position = Int(bits % UInt64(bytes.count))
        bytes[position] ^= 1 << UInt8(bits >> 61)
        world.note("fault corruption", self)
    }

    /// A reset overtakes what was not yet sent.
    func sendReset() {
        state = .failed
        outbox = ByteBuffer()
        wire.removeAll { entry in if case .end = entry.item { true } else { false } }
        put(.reset, at: world.now.advanced(byNanoseconds: drawLatency()))
    }

    private func put(_ item: Item, at arrival: Instant) {
        lastArrival = max(arrival, lastArrival)
        wire.append((lastArrival, item))
        planArrival()
    }

    private func planArrival() {
        guard !isArrivalPlanned, let first = wire.first else { return }
        isArrivalPlanned = true
        world.plan(.arrival(self), at: max(first.arrival, world.now))
    }

    /// The first items reach the other host, if anything does.
    func arrived() {
        isArrivalPlanned = false
        while let first = wire.first, first.arrival <= world.now {
            guard isReachable else {
                waitForRetransmission()
                return
            }
            stalledSince = nil
            retransmission = SimulatedSocket.firstRetransmission
            wire.removeFirst()
            deliver(first.item)
        }
        planArrival()
        letGo()
    }

    private func deliver(_ item: Item) {
        guard let peer else { return }
        switch item {
        case .bytes(let bytes):
            inFlight -= bytes.count
            if isBlocked && !isRoomPlanned {
                isRoomPlanned = true
                world.plan(.room(self), after: peer.drawLatency())
            }
            guard peer.isOpen else {
                world.plan(.reset(self), after: peer.drawLatency())
                return
            }
            guard peer.state == .established else { return }
            peer.inbox.append(bytes)
            peer.notify()
        case .end:
            guard peer.state == .established else { return }
            peer.endReceived = true
            peer.notify()
        case .reset:
            world.note("reset", peer)
            peer.fail(ECONNRESET)
        }
    }

    /// Nothing gets through: tries again, ever less often, until TCP gives up. A reset is not repeated.
    private func waitForRetransmission() {
        if case .reset? = wire.first?.item {
            wire.removeFirst()
            planArrival()
            letGo()
            return
        }
        let since = stalledSince ?? world.now
        stalledSince = since
        let limit = since.advanced(byNanoseconds: userTimeout?.wholeNanoseconds ?? SimulatedSocket.givesUpAfter)
        if world.now >= limit {
            world.note("timed out", self)
            fail(ETIMEDOUT)
            return
        }
        isArrivalPlanned = true
        world.plan(.arrival(self), at: min(limit, world.now.advanced(byNanoseconds: retransmission)))
        retransmission = min(retransmission * 2, SimulatedSocket.longestRetransmission)
    }

    /// The peer's process has read: its window has room again, as we learn one latency later.
    func roomMade() {
        guard !isRoomPlanned, !outbox.isEmpty || isBlocked, let peer else { return }
        isRoomPlanned = true
        world.plan(.room(self), after: peer.drawLatency())
    }

    /// News of room, from the peer's window or our own buffer.
    func roomArrived() {
        isRoomPlanned = false
        guard state == .established else { return }
        transmit()
        if isBlocked && readiness.contains(.writable) {
            isBlocked = false
            notify()
        }
    }

    // MARK: Silence

    private func fallSilent() {
        isSilent = true
        watchSilence()
    }

    /// The path to the peer is gone: keep-alive, or the user timeout for bytes that wait for the peer's window, will find out.
    func watchSilence() {
        guard state == .established, isOpen, wire.isEmpty else { return }
        if !outbox.isEmpty {
            world.plan(.silence(self), after: userTimeout?.wholeNanoseconds ?? SimulatedSocket.givesUpAfter)
        } else if let keepAlive {
            let probes = keepAlive.interval.wholeNanoseconds * Int64(max(keepAlive.count, 1))
            world.plan(.silence(self), after: keepAlive.idle.wholeNanoseconds + probes)
        }
    }

    func silenceNoticed() {
        guard state == .established, isOpen, !isReachable else { return }
        world.note("timed out", self)
        fail(ETIMEDOUT)
    }
}
