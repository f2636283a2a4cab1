// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import Glibc

/// Where log lines go: a file descriptor served by a thread of its own, so that no reactor ever waits for a disk, a pipe
/// or a terminal.
///
/// Each producer has a `LogLane`; what does not fit there is dropped and counted. Lines appear within `gatherTime`.
/// `close(within:)` writes what is left, for a bounded time; a sink that is let go without it may lose its last lines.
package final class LogSink: Sendable {
    package enum Target: Sendable, Equatable {
        case standardOutput
        case standardError
        /// Appended to, made with mode 0640 where it is missing, opened again by `reopen`.
        case file(String)
        /// An open descriptor that stays its opener's.
        case descriptor(Int32)
        /// No thread: lines wait in the lanes until `collect` takes them. For simulated gateways and tests.
        case memory
    }

    package struct Settings: Sendable, Equatable {
        /// Bytes a producer may be ahead of the writer, in 4 KiB...1 GiB; rounded up to a power of two. Default 1 MiB:
        /// 50 ms of 50,000 lines a second.
        package var laneBytes = 1 << 20
        /// How long lines are gathered before they are written, in 0...1 s. Default 50 ms.
        package var gatherTime: Duration = .milliseconds(50)

        package init() {}
    }

    package struct OpenError: Error, CustomStringConvertible {
        package var path: String
        package var errno: Int32
        package var description: String { "cannot open log file \(path): \(unsafe String(cString: strerror(errno)))" }
    }

    package let target: Target
    private let writer: LogWriter
    private let settings: Settings
    private let lanes = GuardLock<[Int: LogLane]>([:])
    /// Lines from threads that have no lane of their own.
    private let shared: GuardLock<LogLane>

    /// Opens the file and starts the writer's thread.
    package init(_ target: Target, settings: Settings = Settings()) throws(OpenError) {
        self.target = target
        self.settings = settings
        let descriptor: LogDescriptor? =
            switch target {
            case .standardOutput: LogDescriptor(1, isOwned: false)
            case .standardError: LogDescriptor(2, isOwned: false)
            case .descriptor(let raw): LogDescriptor(raw, isOwned: false)
            case .file(let path): try LogSink.open(path)
            case .memory: nil
            }
        writer = LogWriter(gatherNanoseconds: max(settings.gatherTime.wholeNanoseconds, 0))
        shared = GuardLock(writer.makeLane(capacity: settings.laneBytes))
        if let descriptor { writer.start(descriptor) }
    }

    deinit { writer.abandon() }

    /// The lane of reactor `shard`: the same one each time it is asked for, so that a reload makes no new ones.
    package func lane(shard: Int) -> LogLane {
        lanes.withLock { lanes in
            if let lane = lanes[shard] { return lane }
            let lane = writer.makeLane(capacity: settings.laneBytes)
            lanes[shard] = lane
            return lane
        }
    }

    /// Publishes one line, line feed included, from any thread; a short lock. False: dropped and counted.
    @discardableResult
    package func append(_ line: Span<UInt8>) -> Bool { shared.withLock { $0.append(line) } }

    /// Lines dropped so far: lanes full, pipe broken, disk full, or left over at the end.
    package var droppedLines: UInt64 { writer.droppedLines }

    /// Opens the file anew (after log rotation; on SIGHUP) and has the writer go over to it between two lines. If that
    /// fails the old one stays. Nothing for other targets.
    package func reopen() throws(OpenError) {
        if case .file(let path) = target { writer.replace(try LogSink.open(path)) }
    }

    /// Waits until every line published before this call has been written or dropped. False if that took too long.
    @discardableResult
    package func flush(within limit: Duration) -> Bool { writer.flush(nanoseconds: limit.wholeNanoseconds) }

    /// Writes what is left and ends the thread; whatever is not written within the limit is dropped and counted, and the
    /// answer is false. What is published later goes nowhere.
    @discardableResult
    package func close(within limit: Duration) -> Bool { writer.close(nanoseconds: limit.wholeNanoseconds) }

    /// For `.memory`: moves all lines to `output`, lane by lane in the order in which the lanes were made.
    package func collect(into output: inout ByteBuffer) { writer.collect(into: &output) }

    private static func open(_ path: String) throws(OpenError) -> LogDescriptor {
        // Not blocking, since the path may be a FIFO without a reader.
        let raw = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o640)
        guard raw >= 0 else { throw OpenError(path: path, errno: errno) }
        return LogDescriptor(raw, isOwned: true)
    }
}
