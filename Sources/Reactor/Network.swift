// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// The seam between a reactor and the world: `EpollNetwork` is the kernel's, `SimulatedNetwork` is in memory on virtual time.
///
/// A base class and not a protocol, so that a call is one vtable jump and nothing is boxed. Nothing blocks. All calls come on
/// the reactor that the network belongs to. Nothing above this seam may call the kernel or read a clock.
package class Network {
    /// For the operator.
    package final let name: StaticString

    init(name: StaticString) { self.name = name }

    // MARK: Opening

    /// Opens a listening socket. Port 0 takes a free one: see `localAddress`.
    package func listen(on address: SocketAddress, options: ListenOptions) throws(NetworkError) -> Descriptor {
        throw NetworkError(.listen, address, errno: ENOSYS)
    }

    package final func listen(
        on address: SocketAddress, reusePort: Bool = true, backlog: Int32 = 4096
    ) throws(NetworkError) -> Descriptor {
        var options = ListenOptions()
        options.reusePort = reusePort
        options.backlog = backlog
        return try listen(on: address, options: options)
    }

    /// Fails as `listen` would if anybody listens there already, even a socket that shares its port: what a process asks before
    /// its reactors open theirs, since a second process of the same user would otherwise get a share of the first one's clients.
    package func checkFree(_ address: SocketAddress) throws(NetworkError) {}

    /// Takes one connection that waits at `listener`.
    package func accept(_ listener: Descriptor) -> AcceptResult { .failed(ENOSYS) }

    /// Accepts one waiting connection with the reserve descriptor and closes it at once, so that its client need not wait for a
    /// process that has no descriptor left. False: none waits, or even that failed.
    package func acceptAndDrop(_ listener: Descriptor) -> Bool { false }

    /// Starts a connection. It is up, or has failed, when the socket becomes writable: then ask `connectResult`.
    package func connect(to address: SocketAddress, options: ConnectOptions = ConnectOptions()) throws(NetworkError) -> Descriptor {
        throw NetworkError(.connect, address, errno: ENOSYS)
    }

    /// 0 when the connection is up, else the `errno`; asking takes a pending error off the socket.
    package func connectResult(_ descriptor: Descriptor) -> Int32 { ENOSYS }

    /// Makes readiness events of `descriptor` arrive at `reactor` under `token`, edge-triggered, until it is closed. Returns 0, or
    /// an `errno`, and the socket has then been shut down both ways.
    func register(_ descriptor: Descriptor, token: UInt64, reactor: Reactor) -> Int32 { ENOSYS }

    // MARK: Bytes

    package func receive(_ descriptor: Descriptor, into memory: UnsafeMutableRawBufferPointer) -> IOResult { .failed(ENOSYS) }

    /// Never raises SIGPIPE.
    package func send(_ descriptor: Descriptor, _ bytes: UnsafeRawBufferPointer) -> IOResult { .failed(ENOSYS) }

    // MARK: Ending

    /// Ends our direction (FIN) and goes on reading.
    package func shutdownWrite(_ descriptor: Descriptor) {}

    package func close(_ descriptor: Descriptor) {}

    /// Closes with a RST: what was sent and not yet taken is lost.
    package func reset(_ descriptor: Descriptor) {}

    // MARK: Looking

    package func localAddress(_ descriptor: Descriptor) -> SocketAddress? { nil }

    // MARK: Time

    /// The clock. Only the reactor reads it, once a turn.
    func clock() -> Instant { .origin }

    /// Nanoseconds since 1970 at this moment.
    func wallClock() -> Int64 { 0 }

    /// Waits for readiness until `deadline` (`origin`: does not wait) and reports it to `reactor` by `note`.
    func wait(_ reactor: Reactor, until deadline: Instant) {}

    /// Ends a `wait` from any thread.
    func wake() {}
}
