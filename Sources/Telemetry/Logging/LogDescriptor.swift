// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A descriptor that log lines are written to, and what must be known to write without blocking for long.
final class LogDescriptor: Sendable {
    enum WriteResult {
        case wrote(Int)
        /// Takes nothing now.
        case busy
        /// Broken pipe, full disk, and the like.
        case failed
    }

    private let raw: Int32
    private let isOwned: Bool
    /// A regular file takes any amount. Anything else is asked first and gets one page, which it then takes at once
    /// (pipe(7)): making the descriptor non-blocking would change it for every process that shares it.
    private let isFile: Bool

    init(_ raw: Int32, isOwned: Bool) {
        self.raw = raw
        self.isOwned = isOwned
        var status = stat()
        isFile = unsafe fstat(raw, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    deinit { if isOwned { close(raw) } }

    var maximumWrite: Int { isFile ? 256 * 1_024 : Int(PIPE_BUF) }

    /// Waits up to `milliseconds` for room, and writes. SIGPIPE is blocked in the writer's thread.
    func write(_ bytes: UnsafeRawBufferPointer, waitingMilliseconds milliseconds: Int32) -> WriteResult {
        if !isFile {
            var poller = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
            if unsafe poll(&poller, 1, milliseconds) <= 0 { return .busy }
        }
        let n = unsafe Glibc.write(raw, bytes.baseAddress, bytes.count)
        if n > 0 { return .wrote(n) }
        if n == 0 { return .failed }
        return errno == EAGAIN || errno == EINTR ? .busy : .failed
    }
}
