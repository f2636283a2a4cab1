// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Transport

/// The services behind the demo's gateway, on one reactor of their own.
final class DemoServices {
    private let group: ReactorGroup
    let addresses: [(name: String, address: String)]

    init() throws {
        let group = try ReactorGroup(count: 1, draw: .seededByKernel())
        let reactor = group.reactors[0]
        let context = Confined(DemoContext(TransportContext(reactor: reactor)), to: reactor)
        var addresses: [(name: String, address: String)] = []
        for service in DemoService.Kind.allCases {
            let result = DemoResult()
            reactor.post { result.set(context.value.open(service)) }
            guard let address = result.wait() else {
                group.stop()
                group.join()
                throw DemoError(description: "no port is free for the service \(service.rawValue)")
            }
            addresses.append((service.rawValue, address))
        }
        self.group = group
        self.addresses = addresses
    }

    func stop() {
        group.stop()
        group.join()
    }
}

struct DemoError: Error, CustomStringConvertible {
    var description: String
}

/// What lives on the services' reactor.
final class DemoContext {
    private let context: TransportContext
    private var listeners: [ServerListener] = []

    init(_ context: TransportContext) { self.context = context }

    /// The address that the service is at.
    func open(_ kind: DemoService.Kind) -> String? {
        guard
            let listener = try? ServerListener(
                on: .loopback(port: 0), context: context, tls: nil, settings: ServerSettings(),
                connectionSettings: Connection.Settings(), service: DemoService(kind, on: context.reactor))
        else { return nil }
        listeners.append(listener)
        return "\(listener.address)"
    }
}

/// Hands an address from the reactor to the thread that waits for it.
final class DemoResult: Sendable {
    private let state = GuardLock<(isSet: Bool, address: String?)>((false, nil))

    func set(_ address: String?) { state.withLock { $0 = (true, address) } }

    func wait() -> String? {
        while true {
            let state = state.withLock { $0 }
            if state.isSet { return state.address }
            Processors.yield()
        }
    }
}
