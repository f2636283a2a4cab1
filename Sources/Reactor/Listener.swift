// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Glibc

/// A listening socket: hands each accepted connection to `accepted`.
///
/// When this process is out of descriptors it does not spin: it waits and tries again, ever less often, and what comes waits in
/// the backlog. If that lasts, waiting clients are accepted with the reserve descriptor and closed, so that they can go
/// elsewhere (cases, E28).
open class Listener: Channel {
    /// Where it listens, with the port that it got.
    package final let address: SocketAddress
    /// Accepts that failed since the start, by want of descriptors or memory.
    package private(set) final var failedAccepts: UInt64 = 0
    /// Connections closed unserved because no descriptor was left.
    package private(set) final var droppedConnections: UInt64 = 0
    package private(set) final var isPaused = false
    /// It has failed to accept and waits to try again.
    package var isBackingOff: Bool { retryDelay > 0 }

    private final var retryDelay: Int64 = 0
    private final var failingSince = Instant.origin
    private final lazy var retryTimer = Timer(owner: self)

    /// Accepts a turn, so that others get theirs.
    static let acceptsPerTurn = 64
    /// First wait after a failed accept and the longest, each wait being twice the one before (nanoseconds).
    static let firstRetryDelay: Int64 = 10_000_000
    static let longestRetryDelay: Int64 = 640_000_000
    /// Want of descriptors that has lasted this long makes it drop what waits (nanoseconds).
    static let dropAfter: Int64 = 1_000_000_000

    package init(on address: SocketAddress, reactor: Reactor, options: ListenOptions = ListenOptions()) throws(NetworkError) {
        let descriptor = try reactor.network.listen(on: address, options: options)
        self.address = reactor.network.localAddress(descriptor) ?? address
        super.init(descriptor: descriptor, reactor: reactor)
    }

    /// Adopts a socket that listens already, inherited from the process that this one replaces.
    package init(adopting descriptor: Descriptor, at address: SocketAddress, reactor: Reactor) {
        self.address = reactor.network.localAddress(descriptor) ?? address
        super.init(descriptor: descriptor, reactor: reactor)
    }

    /// A connection has come; the receiver owns the descriptor.
    open func accepted(_ descriptor: Descriptor, peer: SocketAddress) { reactor.network.close(descriptor) }

    /// Accepts nothing for now: connections wait in the backlog.
    package final func pause() { isPaused = true }

    package final func resume() {
        guard isPaused else { return }
        isPaused = false
        if isReadable { requestReady() }
    }

    public final override func ready() {
        var rest = Listener.acceptsPerTurn
        while isReadable && !isPaused && !isClosed && !retryTimer.isArmed {
            guard rest > 0 else {
                requestReady()
                return
            }
            rest -= 1
            switch reactor.network.accept(descriptor) {
            case .accepted(let accepted, let peer):
                retryDelay = 0
                self.accepted(accepted, peer: peer)
            case .wouldBlock:
                // Linux takes a descriptor before it looks who waits, so this too says that there are some again.
                retryDelay = 0
                isReadable = false
            case .failed(let errno):
                switch errno {
                case EMFILE, ENFILE, ENOBUFS, ENOMEM: backOff(errno)
                // The connection died before it was taken, or its packet was refused (accept(2)): the next one may be fine.
                case ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP,
                    ENETUNREACH, EINTR:
                    break
                default: backOff(errno)
                }
            }
        }
    }

    private final func backOff(_ errno: Int32) {
        failedAccepts += 1
        let now = reactor.now
        if retryDelay == 0 {
            failingSince = now
            retryDelay = Listener.firstRetryDelay
        } else {
            retryDelay = min(retryDelay * 2, Listener.longestRetryDelay)
        }
        if errno == EMFILE || errno == ENFILE, now.nanoseconds(since: failingSince) >= Listener.dropAfter {
            var rest = Listener.acceptsPerTurn
            while rest > 0, reactor.network.acceptAndDrop(descriptor) {
                droppedConnections += 1
                rest -= 1
            }
        }
        reactor.schedule(retryTimer, at: now.advanced(byNanoseconds: retryDelay))
    }

    open override func timerFired(_ timer: Timer, now: Instant) {
        // No new edge comes for what already waits.
        isReadable = true
        requestReady()
    }
}
