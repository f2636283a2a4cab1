// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// TCP keep-alive: probes that find a peer which vanished without a word.
package struct KeepAlive: Sendable, Equatable {
    /// Silence before the first probe, 1 s to 32,767 s (whole seconds). Default 60 s.
    package var idle: Duration = .seconds(60)
    /// Between probes, 1 s to 32,767 s (whole seconds). Default 15 s.
    package var interval: Duration = .seconds(15)
    /// Unanswered probes after which the connection fails with `ETIMEDOUT`, 1 to 127. Default 4.
    package var count = 4

    package init() {}

    package init(idle: Duration, interval: Duration, count: Int) {
        self.idle = idle
        self.interval = interval
        self.count = count
    }
}

/// How a connection of our own is made. `TCP_NODELAY` is always on.
package struct ConnectOptions: Sendable, Equatable {
    /// `nil`: no probes.
    package var keepAlive: KeepAlive? = KeepAlive()
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged (ms steps). Default 30 s; `nil`: the kernel's 15 minutes.
    package var userTimeout: Duration? = .seconds(30)

    package init() {}
}

/// How a listener is opened. What is set here holds for the sockets that it accepts, which inherit it.
package struct ListenOptions: Sendable, Equatable {
    /// One socket a reactor on the same port; the kernel spreads connections among them.
    package var reusePort = true
    /// Connections that wait to be accepted. Default 4096 (the kernel cuts it at `net.core.somaxconn`).
    package var backlog: Int32 = 4096
    package var keepAlive: KeepAlive? = KeepAlive()
    package var userTimeout: Duration? = .seconds(30)

    package init() {}
}
