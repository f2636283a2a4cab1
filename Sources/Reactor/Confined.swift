// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Carries something that belongs to one reactor through a message or a task that runs on that reactor.
///
/// `@unchecked Sendable`: the value is only looked at on its own reactor's thread; whoever makes one vouches for that.
package struct Confined<Value>: @unchecked Sendable {
    private let content: Value
    package let reactor: Reactor

    package init(_ value: Value, to reactor: Reactor) {
        content = value
        self.reactor = reactor
    }

    /// On the reactor's thread only.
    package var value: Value {
        assert(reactor.isOnReactor, "a confined value is used on its reactor's thread only")
        return content
    }
}
