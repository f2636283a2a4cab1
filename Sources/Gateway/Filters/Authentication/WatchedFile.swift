// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Telemetry

/// What a file says, and again what it says once it has changed. One that does not read any more is logged, and the last good one goes on.
///
/// Looked at on one reactor (`Filter.everySecond`), read by all.
final class WatchedFile<Content: AnyObject & Sendable>: Sendable {
    /// Tells one version of a file from another: also one that was moved in its place with an older time.
    private struct Stamp: Equatable {
        var inode: UInt64 = 0
        var size: Int64 = 0
        var seconds: Int = 0
        var nanoseconds: Int = 0
    }

    private struct State {
        var content: Content
        var stamp: Stamp
        /// When it is looked at again.
        var due: Instant
    }

    let path: String
    private let interval: Duration
    private let load: @Sendable (String) throws(WatchedFileProblem) -> Content
    private let state: GuardLock<State>

    /// Throws what is wrong with the file as it is now.
    init(
        path: String, every interval: Duration, load: @escaping @Sendable (String) throws(WatchedFileProblem) -> Content
    ) throws(WatchedFileProblem) {
        self.path = path
        self.load = load
        self.interval = interval
        // Before it is read: a change in between is seen next time.
        let stamp = WatchedFile.stamp(of: path) ?? Stamp()
        state = GuardLock(State(content: try load(path), stamp: stamp, due: .origin))
    }

    var content: Content { state.withLock { $0.content } }

    private static func stamp(of path: String) -> Stamp? {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        return Stamp(
            inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec)
    }

    /// Reads the file if it is time and it has changed. A file that is gone, perhaps for the moment in which another takes its place,
    /// changes nothing. Filters that share it may all ask.
    func look(at now: Instant, _ log: OperationalLog?) {
        let isDue = state.withLock { state in
            if now < state.due { return false }
            state.due = now.advanced(by: interval)
            return true
        }
        guard isDue, let stamp = WatchedFile.stamp(of: path), stamp != state.withLock({ $0.stamp }) else { return }
        do throws(WatchedFileProblem) {
            let fresh = try load(path)
            let old = state.withLock { state in
                let old = state.content
                state.content = fresh
                state.stamp = stamp
                return old
            }
            _ = old
            log?.info("credentials", "the file has changed and counts", [("file", path)])
        } catch {
            // Said once for each version.
            state.withLock { $0.stamp = stamp }
            log?.error("credentials", "the changed file cannot be used; the last good one goes on", [("problem", error.words)])
        }
    }
}

/// What is wrong with a file; begins with its name, and repeats nothing secret.
struct WatchedFileProblem: Error {
    var words: String
}
