// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// What owns a socket on a reactor: it is registered once, edge-triggered, for as long as it is open.
///
/// The reactor keeps it alive until it is closed. All of it belongs to the reactor's thread. Readiness comes in two passes: the
/// flags of every channel of a batch are set before the first of them runs, so one channel can see that another, idle in a
/// pool, has just been closed by its peer. `open` only because Swift has no class that a whole package may subclass.
open class Channel: TimerOwner {
    package final let reactor: Reactor
    /// Negative once it is closed.
    package private(set) final var descriptor: Descriptor
    /// There may be bytes, an end or an error to receive. The owner clears it when a receive would have blocked or was short.
    package final var isReadable = false
    /// A send may be taken. The owner clears it when a send would have blocked or was short.
    package final var isWritable = false
    /// The peer has ended its direction or the connection has failed; more bytes may still wait. Never cleared.
    package internal(set) final var sawHangUp = false

    final var token: UInt64 = 0
    final var isReadyQueued = false
    final var isTurnEndQueued = false
    final var lastTurnEnd: UInt64 = 0

    /// Registers the descriptor, which the channel owns from now on. A descriptor that the kernel will not watch behaves as one
    /// whose peer has hung up.
    package init(descriptor: Descriptor, reactor: Reactor) {
        self.descriptor = descriptor
        self.reactor = reactor
        reactor.adopt(self)
    }

    package final var isClosed: Bool { descriptor < 0 }

    // MARK: To override

    /// Something became ready, or `requestReady` was called: at most once a turn, after the flags of all channels are set.
    open func ready() {}

    /// The turn ends, and `requestTurnEnd` was called: the place to write what the turn has gathered.
    open func turnEnded() {}

    open func timerFired(_ timer: Timer, now: Instant) {}

    // MARK: Asking for calls

    /// Sees that `ready` runs in the next turn, which then does not wait.
    package final func requestReady() {
        guard !isReadyQueued, descriptor >= 0 else { return }
        isReadyQueued = true
        reactor.readyQueue.append(self)
    }

    /// Sees that `turnEnded` runs at the end of this turn, once; if it has already run in this turn, of the next.
    package final func requestTurnEnd() {
        guard !isTurnEndQueued, descriptor >= 0 else { return }
        isTurnEndQueued = true
        reactor.turnEndQueue.append(self)
    }

    // MARK: Bytes

    @inline(__always)
    package final func receive(into memory: UnsafeMutableRawBufferPointer) -> IOResult {
        unsafe reactor.network.receive(descriptor, into: memory)
    }

    @inline(__always)
    package final func send(_ bytes: UnsafeRawBufferPointer) -> IOResult {
        unsafe reactor.network.send(descriptor, bytes)
    }

    /// 0 when the connection that was being made is up, else the `errno`.
    package final func connectResult() -> Int32 { reactor.network.connectResult(descriptor) }

    package final var localAddress: SocketAddress? { reactor.network.localAddress(descriptor) }

    // MARK: Ending

    /// Ends our direction (FIN) and goes on reading.
    package final func shutdownWrite() {
        if descriptor >= 0 { reactor.network.shutdownWrite(descriptor) }
    }

    /// Closes the socket. The channel gets no further call but its timers'. Harmless when it is closed already.
    open func close() {
        let number = release()
        if number >= 0 { reactor.network.close(number) }
    }

    /// Closes the socket with a RST.
    open func reset() {
        let number = release()
        if number >= 0 { reactor.network.reset(number) }
    }

    /// Its process has died: it owns nothing any more.
    final func abandon() { descriptor = -1 }

    private final func release() -> Descriptor {
        let number = descriptor
        if number >= 0 {
            descriptor = -1
            reactor.dismiss(self)
        }
        return number
    }
}
