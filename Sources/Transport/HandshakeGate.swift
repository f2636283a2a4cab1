// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Reactor

/// Bounds the TLS handshakes under way on one reactor: a handshake costs what a thousand requests do, and a crowd of new clients
/// must not stop those that are served. Above the limit the listeners with TLS accept no more, and clients wait in the backlog.
package final class HandshakeGate {
    /// At least 1. Default: no limit.
    package var limit = Int.max { didSet { if underWay < limit { open() } } }
    package private(set) var underWay = 0
    /// Those with TLS, kept until they are closed.
    private var listeners: [ServerListener] = []

    func join(_ listener: ServerListener) { listeners.append(listener) }
    func leave(_ listener: ServerListener) { listeners.removeAll { $0 === listener } }

    func began() {
        underWay += 1
        if underWay >= limit { for listener in listeners where listener.speaksTLS { listener.pause() } }
    }

    func ended() {
        underWay -= 1
        if underWay < limit { open() }
    }

    private func open() { for listener in listeners where listener.isPaused { listener.resume() } }
}
