// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import DequeModule
import Glibc

/// One reactor's view of the simulated world's network: what the kernel of its host would be to it.
package final class SimulatedNetwork: Network {
    private unowned let world: SimulatedWorld
    package let host: SimulatedHost

    init(world: SimulatedWorld, host: SimulatedHost) {
        self.world = world
        self.host = host
        super.init(name: "simulated")
    }

    // MARK: Opening

    package override func listen(on address: SocketAddress, options: ListenOptions) throws(NetworkError) -> Descriptor {
        guard address.isWildcard || host.owns(address) else { throw NetworkError(.listen, address, errno: EADDRNOTAVAIL) }
        var local = address.folded
        if local.port == 0 && !local.isUnix { local.port = host.takePort() }
        let others = host.listeners.filter {
            $0.local.port == local.port && ($0.local.host == local.host || $0.local.isWildcard || local.isWildcard)
                && $0.local.isUnix == local.isUnix
        }
        guard others.allSatisfy({ $0.sharesPort && options.reusePort && !local.isUnix }) else {
            throw NetworkError(.listen, address, errno: EADDRINUSE)
        }
        let socket = SimulatedSocket(world: world, host: host, state: .listening, local: local, identity: 0)
        socket.backlog = Int(max(options.backlog, 1))
        socket.sharesPort = options.reusePort
        socket.keepAlive = options.keepAlive
        socket.userTimeout = options.userTimeout
        guard let descriptor = world.open(socket) else { throw NetworkError(.listen, address, errno: EMFILE) }
        host.listeners.append(socket)
        return descriptor
    }

    package override func checkFree(_ address: SocketAddress) throws(NetworkError) {
        let isTaken = host.listeners.contains { other in
            other.local.port == address.port && other.local.isUnix == address.isUnix
                && (other.local.host == address.folded.host || other.local.isWildcard || address.isWildcard)
        }
        if isTaken && !address.isUnix { throw NetworkError(.listen, address, errno: EADDRINUSE) }
    }

    package override func accept(_ listener: Descriptor) -> AcceptResult {
        guard let socket = world.socket(listener), socket.state == .listening else { return .failed(EBADF) }
        guard let waiting = socket.waiting.first else { return .wouldBlock }
        if !host.acceptErrors.isEmpty {
            let errno = host.acceptErrors.removeFirst()
            if errno == ECONNABORTED { socket.waiting.removeFirst().close(byReset: true) }
            return .failed(errno)
        }
        guard let descriptor = world.open(waiting) else { return .failed(EMFILE) }
        socket.waiting.removeFirst()
        world.note("accepted", waiting)
        return .accepted(descriptor, peer: waiting.remote ?? waiting.local)
    }

    package override func acceptAndDrop(_ listener: Descriptor) -> Bool {
        guard let socket = world.socket(listener), let waiting = socket.waiting.popFirst() else { return false }
        world.note("dropped", waiting)
        waiting.close(byReset: false)
        return true
    }

    package override func connect(to address: SocketAddress, options: ConnectOptions) throws(NetworkError) -> Descriptor {
        var local = address.isLoopback ? address.folded : host.address
        if address.isUnix { local = SocketAddress(host: .unix(""), port: 0) } else { local.port = host.takePort() }
        let identity = world.nextConnection() << 1
        let socket = SimulatedSocket(world: world, host: host, state: .connecting, local: local, identity: identity)
        socket.remote = address
        socket.endpoint = address.folded
        socket.peerHost = host.owns(address) ? host : world.hostOwning(address.folded)
        socket.keepAlive = options.keepAlive
        socket.userTimeout = options.userTimeout
        guard let descriptor = world.open(socket) else { throw NetworkError(.connect, address, errno: EMFILE) }
        world.remember(socket)
        world.note("connecting", socket)
        socket.startConnecting()
        return descriptor
    }

    package override func connectResult(_ descriptor: Descriptor) -> Int32 {
        guard let socket = world.socket(descriptor) else { return EBADF }
        return socket.takeError() ?? (socket.state == .connecting ? EINPROGRESS : 0)
    }

    override func register(_ descriptor: Descriptor, token: UInt64, reactor: Reactor) -> Int32 {
        guard let socket = world.socket(descriptor) else { return EBADF }
        socket.reactor = reactor
        socket.token = token
        // As epoll does: what is ready already is an event, but not before this turn is over.
        world.plan(.notice(socket), after: 0)
        return 0
    }

    // MARK: Bytes

    package override func receive(_ descriptor: Descriptor, into memory: UnsafeMutableRawBufferPointer) -> IOResult {
        guard let socket = world.socket(descriptor) else { return .failed(EBADF) }
        return unsafe socket.receive(into: memory)
    }

    package override func send(_ descriptor: Descriptor, _ bytes: UnsafeRawBufferPointer) -> IOResult {
        guard let socket = world.socket(descriptor) else { return .failed(EBADF) }
        return unsafe socket.send(bytes)
    }

    // MARK: Ending

    package override func shutdownWrite(_ descriptor: Descriptor) { world.socket(descriptor)?.shutdownWrite() }

    package override func close(_ descriptor: Descriptor) {
        if let socket = world.socket(descriptor), socket.state != .listening { world.note("closed", socket) }
        world.close(descriptor, byReset: false)
    }

    package override func reset(_ descriptor: Descriptor) {
        if let socket = world.socket(descriptor) { world.note("closed by reset", socket) }
        world.close(descriptor, byReset: true)
    }

    // MARK: Looking

    package override func localAddress(_ descriptor: Descriptor) -> SocketAddress? { world.socket(descriptor)?.local }

    // MARK: Time

    override func clock() -> Instant { world.now }

    override func wallClock() -> Int64 { SimulatedWorld.unixEpoch &+ world.now.nanoseconds }
}
