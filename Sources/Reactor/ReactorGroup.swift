// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CLinux
package import Core
import Glibc

/// A thread of its own for one reactor, never the main one: there, tasks on a reactor would never run.
@safe package final class ReactorThread {
    package let reactor: Reactor
    private var thread: pthread_t?

    /// Starts the thread.
    package init(_ reactor: Reactor) throws(NetworkError) {
        self.reactor = reactor
        var thread = pthread_t()
        let handle = unsafe Unmanaged.passRetained(reactor)
        let result = unsafe pthread_create(
            &thread, nil,
            { raw in
                guard let raw = unsafe raw else { return nil }
                let reactor = unsafe Unmanaged<Reactor>.fromOpaque(raw).takeRetainedValue()
                unsafe "reactor-\(reactor.index)".withCString { unsafe holdfast_name_thread($0) }
                reactor.run()
                return nil
            }, handle.toOpaque())
        guard result == 0 else {
            unsafe handle.release()
            throw NetworkError(.start, nil, errno: result)
        }
        self.thread = thread
    }

    /// Waits until the reactor has stopped.
    package func join() {
        guard let thread = thread.take() else { return }
        _ = pthread_join(thread, nil)
    }
}

/// The process's reactors, each on a thread of its own.
package final class ReactorGroup {
    package let reactors: [Reactor]
    private let threads: [ReactorThread]

    /// Makes and starts `count` reactors on the kernel's network. If one cannot start, none stays.
    package init(count: Int, draw: Draw) throws(NetworkError) {
        var reactors: [Reactor] = []
        for i in 0..<max(count, 1) { reactors.append(Reactor(index: i, network: try EpollNetwork(), draw: draw)) }
        var threads: [ReactorThread] = []
        for reactor in reactors {
            do {
                threads.append(try ReactorThread(reactor))
            } catch {
                for thread in threads {
                    thread.reactor.stop()
                    thread.join()
                }
                throw error
            }
        }
        self.reactors = reactors
        self.threads = threads
    }

    /// Asks all to stop; `join` waits for it.
    package func stop() {
        for reactor in reactors { reactor.stop() }
    }

    package func join() {
        for thread in threads { thread.join() }
    }
}
