// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CCAres
import CLinux
import Core
import Glibc

/// One question under way in c-ares, in a channel of its own: so that each has its own servers and limits, and a change of
/// `/etc/resolv.conf` counts from the next question on. c-ares sends, repeats, turns to TCP and matches answers to questions; what an
/// answer says is read by `DNSMessage`, in Swift.
///
/// The file around C: nothing else calls c-ares. Confined to one reactor.
@safe final class AresQuery {
    /// What c-ares wants to hear of a socket of its own; both false: it closes the socket now.
    private var watch: ((_ descriptor: Descriptor, _ readable: Bool, _ writable: Bool) -> Void)?
    private let record: NameQuestion.Record
    private var channel: ares_channel?
    private(set) var answer: NameAnswer?
    /// How many are asked in turn.
    private(set) var serverCount = 0

    /// Does nothing on Linux but count, and is to be called once before anything else.
    private static let library: Int32 = ares_library_init(ARES_LIB_INIT_ALL)

    /// Begins. `watch` may be called before this returns.
    ///
    /// `passesOver`: whether a server that fails or refuses is passed over for the next. c-ares then forgets what it said, and after
    /// the last one says that none could be reached.
    init(
        _ question: NameQuestion, _ settings: ResolverSettings, passesOver: Bool,
        watch: @escaping (_ descriptor: Descriptor, _ readable: Bool, _ writable: Bool) -> Void
    ) {
        self.watch = watch
        record = question.record
        begin(question, settings, passesOver)
    }

    deinit { end() }

    private func begin(_ question: NameQuestion, _ settings: ResolverSettings, _ passesOver: Bool) {
        guard AresQuery.library == code(ARES_SUCCESS) else { return answer = .failed(.local) }
        var options = unsafe ares_options()
        unsafe options.timeout = Int32(clamping: max(1, settings.timeout.wholeNanoseconds / 1_000_000))
        unsafe options.tries = Int32(clamping: max(1, settings.attempts))
        unsafe options.flags = passesOver ? 0 : Int32(ARES_FLAG_NOCHECKRESP)
        // The query lives until `end`, which destroys the channel, so that an unretained reference is enough.
        unsafe options.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
        unsafe options.sock_state_cb = { data, descriptor, readable, writable in
            guard let data = unsafe data else { return }
            unsafe Unmanaged<AresQuery>.fromOpaque(data).takeUnretainedValue().watch?(descriptor, readable != 0, writable != 0)
        }
        let mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
        guard unsafe ares_init_options(&channel, &options, Int32(mask)) == code(ARES_SUCCESS), let channel = unsafe channel else {
            return answer = .failed(.local)
        }
        if !settings.servers.isEmpty {
            let list = settings.servers.map { "\($0)" }.joined(separator: ",")
            guard unsafe ares_set_servers_ports_csv(channel, list) == code(ARES_SUCCESS) else { return answer = .failed(.local) }
        }
        serverCount = unsafe AresQuery.countServers(channel)
        // c-ares calls back exactly once for each query, at the latest when its channel is destroyed.
        unsafe ares_query(
            channel, question.name, AresQuery.classInternet, Int32(question.record.rawValue),
            { context, status, _, bytes, length in
                guard let context = unsafe context else { return }
                let query = unsafe Unmanaged<AresQuery>.fromOpaque(context).takeUnretainedValue()
                // The message is lent for the length of this call.
                let message = unsafe Array(UnsafeBufferPointer(start: bytes, count: bytes == nil ? 0 : Int(max(0, length))))
                query.answered(status, message)
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    private static func countServers(_ channel: ares_channel) -> Int {
        var first: UnsafeMutablePointer<ares_addr_port_node>?
        guard unsafe ares_get_servers_ports(channel, &first) == code(ARES_SUCCESS) else { return 0 }
        defer { unsafe ares_free_data(first) }
        var count = 0
        var node = unsafe first
        // The list is ours until it is freed.
        while let current = unsafe node {
            count += 1
            unsafe node = current.pointee.next
        }
        return count
    }

    private static let classInternet: Int32 = 1

    private func answered(_ status: Int32, _ message: [UInt8]) {
        if answer != nil { return }
        answer = status == code(ARES_SUCCESS) ? DNSMessage.answer(message, to: record) : .failed(AresQuery.failure(status))
    }

    private static func failure(_ status: Int32) -> NameFailure {
        switch status {
        case code(ARES_ENODATA): .empty
        case code(ARES_ENOTFOUND): .nxdomain
        case code(ARES_ESERVFAIL): .servfail
        case code(ARES_EREFUSED), code(ARES_ENOTIMP), code(ARES_EFORMERR): .refused
        case code(ARES_ETIMEOUT): .timeout
        case code(ARES_ECONNREFUSED): .unreachable
        case code(ARES_EBADRESP): .malformed
        default: .local
        }
    }

    /// Tells c-ares of a socket that became ready, or of time that has passed.
    func process(readable: Descriptor?, writable: Descriptor?) {
        guard let channel = unsafe channel else { return }
        unsafe ares_process_fd(channel, readable ?? AresQuery.noSocket, writable ?? AresQuery.noSocket)
    }

    private static let noSocket: ares_socket_t = -1

    /// Nanoseconds until c-ares wants to be called even if nothing comes.
    var wait: Int64? {
        guard let channel = unsafe channel else { return nil }
        var time = timeval()
        guard unsafe ares_timeout(channel, nil, &time) != nil else { return nil }
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_usec) * 1_000
    }

    /// Closes its sockets without another word. Not from within a call of c-ares.
    func end() {
        watch = nil
        guard let channel = unsafe channel.take() else { return }
        unsafe ares_destroy(channel)
    }

    /// Whether more waits at a socket: it is watched for edges, and c-ares takes from a TCP one at a time.
    static func hasMore(_ descriptor: Descriptor) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLIN) != 0
    }

    /// Whether this machine has a way to an address. Connecting a datagram socket sends nothing: the kernel only looks for a route.
    static func hasRoute(to address: SocketAddress) -> Bool {
        let probe = socket(address.family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return false }
        defer { _ = close(probe) }
        var target = address
        target.port = 53
        return unsafe target.withKernelForm { unsafe connect(probe, $0, $1) } == 0
    }
}

/// c-ares has its status codes as macros up to 1.22 and as an enumeration since.
private func code(_ macro: some BinaryInteger) -> Int32 { Int32(clamping: macro) }
private func code<Status: RawRepresentable>(_ status: Status) -> Int32 where Status.RawValue: BinaryInteger {
    Int32(clamping: status.rawValue)
}
