// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Synchronization

/// The thread that takes lines out of the lanes of one `LogSink` and writes them.
final class LogWriter: @unchecked Sendable {
    // Sendable: `descriptor`, `lastByte` and `mustEndLine` belong to the writer's thread once `start` was called; all
    // else is behind `control` or atomic.

    private struct Control {
        var lanes: [LogLane] = []
        var replacement: LogDescriptor?
        /// Those who wait until what is published now has been written.
        var waiting: [Semaphore] = []
        var isClosing = false
        var isRunning = false
    }

    /// How long a blocked descriptor is waited for before orders are looked at again.
    private static let patienceMilliseconds: Int32 = 20

    private let control = GuardLock(Control())
    private let bell = LogBell()
    private let gatherNanoseconds: Int64
    private let hasEnded = Semaphore()
    private let isAbandoned = Atomic<Bool>(false)
    private let lostLines = Atomic<UInt64>(0)
    private var descriptor: LogDescriptor?
    /// What the descriptor got last, to know whether it stands within a line.
    private var lastByte = UInt8(ascii: "\n")
    /// A write failed in the middle of a line.
    private var mustEndLine = false

    init(gatherNanoseconds: Int64) { self.gatherNanoseconds = gatherNanoseconds }

    func makeLane(capacity: Int) -> LogLane {
        let lane = LogLane(capacity: capacity, bell: bell)
        control.withLock { $0.lanes.append(lane) }
        return lane
    }

    var droppedLines: UInt64 {
        control.withLock { $0.lanes }.reduce(lostLines.load(ordering: .relaxed)) { $0 &+ $1.droppedLines }
    }

    // MARK: Orders, from any thread

    func start(_ descriptor: LogDescriptor) {
        self.descriptor = descriptor
        control.withLock { $0.isRunning = true }
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self).toOpaque()
        let failure = unsafe pthread_create(
            &thread, &attributes,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<LogWriter>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context)
        unsafe pthread_attr_destroy(&attributes)
        precondition(failure == 0, "no thread for the log: errno \(failure)")
    }

    func replace(_ descriptor: LogDescriptor) {
        control.withLock { $0.replacement = descriptor }
        bell.ringAlways()
    }

    func flush(nanoseconds: Int64) -> Bool {
        let done = Semaphore()
        let isRunning = control.withLock { control in
            if control.isRunning { control.waiting.append(done) }
            return control.isRunning
        }
        guard isRunning else { return true }
        bell.ringAlways()
        return done.wait(nanoseconds: nanoseconds)
    }

    func close(nanoseconds: Int64) -> Bool {
        let isRunning = control.withLock { control in
            control.isClosing = true
            return control.isRunning
        }
        guard isRunning else { return true }
        bell.ringAlways()
        if hasEnded.wait(nanoseconds: nanoseconds) {
            hasEnded.post()  // for a second call
            return true
        }
        abandon()
        // It looks at its orders often, unless the kernel holds it within a write; then it is left behind.
        if hasEnded.wait(nanoseconds: Int64(LogWriter.patienceMilliseconds) * 10_000_000) { hasEnded.post() }
        return false
    }

    /// Has the thread end without writing more.
    func abandon() {
        control.withLock { $0.isClosing = true }
        isAbandoned.store(true, ordering: .relaxed)
        bell.ringAlways()
    }

    func collect(into output: inout ByteBuffer) {
        for lane in control.withLock({ $0.lanes }) {
            let end = lane.published
            while lane.consumed < end {
                unsafe lane.consume(to: end, maximum: .max) { bytes in
                    unsafe output.append(bytes)
                    return (bytes.count, ())
                }
            }
        }
    }

    // MARK: The thread

    private func run() {
        LogWriter.blockSignals()
        while true {
            let (lanes, waiting, isClosing) = takeOrders()
            var hasWritten = false
            for lane in lanes where drain(lane) { hasWritten = true }
            for one in waiting { one.post() }
            if isClosing {
                // Producers may have gone on while this pass wrote; that is lost, and counted.
                for lane in lanes { discard(lane, to: lane.published) }
                break
            }
            if !hasWritten && waiting.isEmpty {
                bell.wait(nanoseconds: nil) { hasOrders || hasLines { $0.published > $0.consumed } }
            }
            if gatherNanoseconds > 0 && !hasOrders {
                bell.wait(nanoseconds: gatherNanoseconds) { hasOrders || hasLines { $0.isMoreThanHalfFull } }
            }
        }
        let late = control.withLock { control in
            control.isRunning = false
            let late = control.waiting
            control.waiting = []
            return late
        }
        for one in late { one.post() }
        descriptor = nil
        hasEnded.post()
    }

    private func takeOrders() -> (lanes: [LogLane], waiting: [Semaphore], isClosing: Bool) {
        adoptReplacement()
        return control.withLock { control in
            let orders = (control.lanes, control.waiting, control.isClosing)
            control.waiting = []
            return orders
        }
    }

    private var hasOrders: Bool {
        control.withLock { $0.isClosing || $0.replacement != nil || !$0.waiting.isEmpty }
    }

    private func hasLines(_ isReason: (LogLane) -> Bool) -> Bool { control.withLock { $0.lanes.contains(where: isReason) } }

    /// Writes what the lane has published so far, which is whole lines. False if there was nothing.
    private func drain(_ lane: LogLane) -> Bool {
        let end = lane.published
        guard lane.consumed < end else { return false }
        while lane.consumed < end {
            guard let descriptor, !isAbandoned.load(ordering: .relaxed) else {
                discard(lane, to: end)
                break
            }
            if mustEndLine {
                switch endBrokenLine(on: descriptor) {
                case .wrote: break
                case .busy: adoptReplacement()
                case .failed: discard(lane, to: end)
                }
                continue
            }
            let result = unsafe lane.consume(to: end, maximum: descriptor.maximumWrite) { bytes in
                let result = unsafe descriptor.write(bytes, waitingMilliseconds: LogWriter.patienceMilliseconds)
                guard case .wrote(let n) = result else { return (0, result) }
                lastByte = unsafe bytes[n - 1]
                return (n, result)
            }
            switch result {
            case .wrote: break
            case .failed:
                mustEndLine = lastByte != UInt8(ascii: "\n")
                discard(lane, to: end)
            case .busy:
                let isWithinLine = lastByte != UInt8(ascii: "\n")
                // The rest of a line whose beginning went elsewhere would be no line.
                if adoptReplacement() && isWithinLine { discard(lane, to: end, lines: 1) }
            }
        }
        return true
    }

    /// A line that broke off (disk full, reader gone) is ended before the next begins, so that it damages no other.
    private func endBrokenLine(on descriptor: LogDescriptor) -> LogDescriptor.WriteResult {
        let lineFeed: [UInt8] = [UInt8(ascii: "\n")]
        let result = unsafe lineFeed.withUnsafeBytes {
            unsafe descriptor.write($0, waitingMilliseconds: LogWriter.patienceMilliseconds)
        }
        if case .wrote = result {
            mustEndLine = false
            lastByte = UInt8(ascii: "\n")
        }
        return result
    }

    /// Goes over to the descriptor of the last `replace`, if there was one.
    @discardableResult
    private func adoptReplacement() -> Bool {
        let replacement = control.withLock { $0.replacement.take() }
        guard let replacement else { return false }
        descriptor = replacement
        lastByte = UInt8(ascii: "\n")
        mustEndLine = false
        return true
    }

    /// Drops lines up to `end`, at most `lines` of them, and counts them.
    private func discard(_ lane: LogLane, to end: Int, lines limit: Int = .max) {
        var lost = 0
        while lane.consumed < end && lost < limit {
            lost += unsafe lane.consume(to: end, maximum: .max) { bytes in
                var count = 0
                var i = 0
                while i < bytes.count && lost + count < limit {
                    if unsafe bytes[i] == UInt8(ascii: "\n") { count += 1 }
                    i += 1
                }
                return (i, count)
            }
        }
        lostLines.wrappingAdd(UInt64(lost), ordering: .relaxed)
    }

    /// Signals are for the main thread; SIGPIPE of a broken pipe stays pending here and ends with the thread. Signals
    /// that report a fault of this thread stay deliverable.
    private static func blockSignals() {
        var set = sigset_t()
        unsafe sigfillset(&set)
        for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT] { unsafe sigdelset(&set, signal) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }
}
