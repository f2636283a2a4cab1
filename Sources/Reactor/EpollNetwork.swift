// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Core
import Glibc

/// The kernel's network: one epoll instance and one eventfd, for one reactor.
@safe package final class EpollNetwork: Network {
    private let epoll: Int32
    private let wakeUp: Int32
    /// Kept so that one connection can be accepted when no descriptor is left.
    private var reserve: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    /// Readiness events taken at once.
    private static let batch = 512
    /// Token of the eventfd: a slot number that no channel has.
    private static let wakeToken = UInt64.max

    package init() throws(NetworkError) {
        holdfast_ignore_sigpipe()
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        reserve = EpollNetwork.openReserve()
        unsafe events = .allocate(capacity: EpollNetwork.batch)
        let failure = errno
        super.init(name: "epoll")
        guard epoll >= 0, wakeUp >= 0 else { throw NetworkError(.start, nil, errno: failure) }
        // Edge-triggered and never read: each write to the counter is an edge of its own.
        let result = add(wakeUp, token: EpollNetwork.wakeToken, EPOLLIN.rawValue | EPOLLET.rawValue)
        guard result == 0 else { throw NetworkError(.start, nil, errno: result) }
    }

    deinit {
        for descriptor in [epoll, wakeUp, reserve] where descriptor >= 0 { _ = Glibc.close(descriptor) }
        unsafe events.deallocate()
    }

    private static func openReserve() -> Int32 { unsafe open("/dev/null", O_RDONLY | O_CLOEXEC) }

    private func add(_ descriptor: Int32, token: UInt64, _ interest: UInt32) -> Int32 {
        var event = unsafe epoll_event()
        unsafe event.events = interest
        unsafe event.data.u64 = token
        return unsafe epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : errno
    }

    // MARK: Opening

    package override func listen(on address: SocketAddress, options: ListenOptions) throws(NetworkError) -> Descriptor {
        let descriptor = holdfast_stream_socket(address.family)
        guard descriptor >= 0 else { throw NetworkError(.listen, address, errno: errno) }
        if !address.isUnix {
            set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            if options.reusePort { set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            setTransport(descriptor, keepAlive: options.keepAlive, userTimeout: options.userTimeout)
            if address.family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, address.isWildcard ? 0 : 1) }
        }
        var result = bind(descriptor, to: address)
        if result == EADDRINUSE && address.isUnix && removeStaleSocket(at: address) { result = bind(descriptor, to: address) }
        if result == 0 && Glibc.listen(descriptor, options.backlog) != 0 { result = errno }
        guard result == 0 else {
            _ = Glibc.close(descriptor)
            throw NetworkError(.listen, address, errno: result)
        }
        return descriptor
    }

    package override func checkFree(_ address: SocketAddress) throws(NetworkError) {
        if address.isUnix || address.port == 0 { return }
        let descriptor = holdfast_stream_socket(address.family)
        guard descriptor >= 0 else { throw NetworkError(.listen, address, errno: errno) }
        defer { _ = Glibc.close(descriptor) }
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if address.family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, address.isWildcard ? 0 : 1) }
        let result = bind(descriptor, to: address)
        guard result == 0 else { throw NetworkError(.listen, address, errno: result) }
    }

    private func bind(_ descriptor: Int32, to address: SocketAddress) -> Int32 {
        unsafe address.withKernelForm { unsafe Glibc.bind(descriptor, $0, $1) } == 0 ? 0 : errno
    }

    /// A socket file that nobody listens at is what a process that was killed leaves behind.
    private func removeStaleSocket(at address: SocketAddress) -> Bool {
        guard case .unix(let path) = address.host else { return false }
        let probe = holdfast_stream_socket(AF_UNIX)
        guard probe >= 0 else { return false }
        defer { _ = Glibc.close(probe) }
        let connected = unsafe address.withKernelForm { unsafe Glibc.connect(probe, $0, $1) }
        guard connected != 0, errno == ECONNREFUSED else { return false }
        return unsafe unlink(path) == 0
    }

    package override func accept(_ listener: Descriptor) -> AcceptResult {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let descriptor = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe holdfast_accept(listener, $0, &length) }
        }
        guard descriptor >= 0 else { return errno == EAGAIN ? .wouldBlock : .failed(errno) }
        // TCP_NODELAY, keep-alive and the user timeout are inherited from the listener (tcp(7)).
        return .accepted(descriptor, peer: SocketAddress(storage) ?? SocketAddress(host: .unix(""), port: 0))
    }

    package override func acceptAndDrop(_ listener: Descriptor) -> Bool {
        if reserve >= 0 { _ = Glibc.close(reserve) }
        let descriptor = holdfast_accept(listener, nil, nil)
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        reserve = EpollNetwork.openReserve()
        return descriptor >= 0
    }

    package override func connect(to address: SocketAddress, options: ConnectOptions) throws(NetworkError) -> Descriptor {
        let descriptor = holdfast_stream_socket(address.family)
        guard descriptor >= 0 else { throw NetworkError(.connect, address, errno: errno) }
        if !address.isUnix { setTransport(descriptor, keepAlive: options.keepAlive, userTimeout: options.userTimeout) }
        let result = unsafe address.withKernelForm { unsafe Glibc.connect(descriptor, $0, $1) } == 0 ? 0 : errno
        guard result == 0 || result == EINPROGRESS || result == EINTR else {
            _ = Glibc.close(descriptor)
            throw NetworkError(.connect, address, errno: result)
        }
        return descriptor
    }

    package override func connectResult(_ descriptor: Descriptor) -> Int32 {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) == 0 else { return errno }
        // A connect to a free port of the ephemeral range on this machine may meet itself (simultaneous open).
        if error == 0, let local = localAddress(descriptor), local.isLoopback, !local.isUnix, local == peerAddress(descriptor) {
            return ECONNREFUSED
        }
        return error
    }

    override func register(_ descriptor: Descriptor, token: UInt64, reactor: Reactor) -> Int32 {
        let result = add(descriptor, token: token, holdfast_edge_events)
        if result != 0 { _ = Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }
        return result
    }

    // MARK: Options

    private func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        // What the kernel does not know it refuses; the connection works without it.
        _ = unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private func setTransport(_ descriptor: Int32, keepAlive: KeepAlive?, userTimeout: Duration?) {
        let tcp = Int32(IPPROTO_TCP)
        set(descriptor, tcp, TCP_NODELAY, 1)
        if let keepAlive {
            set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
            set(descriptor, tcp, TCP_KEEPIDLE, clamp(keepAlive.idle, unit: 1_000_000_000, to: 32_767))
            set(descriptor, tcp, TCP_KEEPINTVL, clamp(keepAlive.interval, unit: 1_000_000_000, to: 32_767))
            set(descriptor, tcp, TCP_KEEPCNT, Int32(min(max(keepAlive.count, 1), 127)))
        }
        if let userTimeout { set(descriptor, tcp, TCP_USER_TIMEOUT, clamp(userTimeout, unit: 1_000_000, to: .max)) }
    }

    private func clamp(_ duration: Duration, unit: Int64, to limit: Int32) -> Int32 {
        Int32(min(max(duration.wholeNanoseconds / unit, 1), Int64(limit)))
    }

    // MARK: Bytes

    package override func receive(_ descriptor: Descriptor, into memory: UnsafeMutableRawBufferPointer) -> IOResult {
        while true {
            let n = unsafe recv(descriptor, memory.baseAddress, memory.count, 0)
            if n > 0 { return .bytes(n) }
            if n == 0 { return memory.count == 0 ? .bytes(0) : .endOfStream }
            let failure = errno
            if failure == EAGAIN { return .wouldBlock }
            if failure != EINTR { return .failed(failure) }
        }
    }

    package override func send(_ descriptor: Descriptor, _ bytes: UnsafeRawBufferPointer) -> IOResult {
        while true {
            let n = unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if n >= 0 { return .bytes(n) }
            let failure = errno
            if failure == EAGAIN { return .wouldBlock }
            if failure != EINTR { return .failed(failure) }
        }
    }

    // MARK: Ending

    package override func shutdownWrite(_ descriptor: Descriptor) { _ = Glibc.shutdown(descriptor, Int32(SHUT_WR)) }

    package override func close(_ descriptor: Descriptor) { _ = Glibc.close(descriptor) }

    package override func reset(_ descriptor: Descriptor) {
        var now = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        _ = Glibc.close(descriptor)
    }

    // MARK: Looking

    package override func localAddress(_ descriptor: Descriptor) -> SocketAddress? { unsafe name(descriptor, getsockname) }

    private func peerAddress(_ descriptor: Descriptor) -> SocketAddress? { unsafe name(descriptor, getpeername) }

    private func name(
        _ descriptor: Descriptor, _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call(descriptor, $0, &length) }
        }
        return result == 0 ? SocketAddress(storage) : nil
    }

    // MARK: Time and waiting

    override func clock() -> Instant {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    override func wallClock() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }

    override func wait(_ reactor: Reactor, until deadline: Instant) {
        let count = unsafe epoll_wait(epoll, events, Int32(EpollNetwork.batch), milliseconds(from: reactor.now, until: deadline))
        guard count > 0 else { return }  // EINTR is a turn without events
        for i in 0..<Int(count) {
            let event = unsafe events[i]
            let token = unsafe event.data.u64
            if token == EpollNetwork.wakeToken { continue }
            var readiness = Readiness()
            let bits = unsafe event.events
            if bits & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 {
                readiness.insert(.readable)
            }
            if bits & (EPOLLOUT.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { readiness.insert(.writable) }
            if bits & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { readiness.insert(.hangUp) }
            reactor.note(token, readiness)
        }
    }

    /// Rounded up, so that no timer finds itself early and spins; counted from the turn's start, which saves reading the clock.
    private func milliseconds(from now: Instant, until deadline: Instant) -> Int32 {
        if deadline == .origin { return 0 }
        if deadline == .never { return -1 }
        let rest = deadline.nanoseconds(since: now)
        if rest <= 0 { return 0 }
        return Int32(min((rest - 1) / 1_000_000 + 1, 60_000))
    }

    override func wake() {
        var one: UInt64 = 1
        // Fails only when the counter is full, and then the reactor has 2^64 reasons to be awake.
        _ = unsafe write(wakeUp, &one, 8)
    }
}
