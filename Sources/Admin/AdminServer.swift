// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Configuration
import Core
public import Gateway
import HTTP
import Reactor
import Telemetry
import Transport

/// The admin listener: metrics and health, on its own port, for operators and never for clients.
///
/// It lives on the first reactor. Only loopback names are accepted in Host, so that a page in somebody's browser cannot
/// reach it by a DNS name that it points at 127.0.0.1 (case E23); what changes something needs `admin_token`, and is a POST.
public enum AdminServer {
    /// Opens it at `address`. Throws one line if that cannot be had.
    public static func start(_ address: Address, for server: GatewayServer) throws {
        guard let socket = SocketAddress.parse(address.description), let home = server.gateways.first else {
            throw AdminError(description: "\(address) is not an address of this system")
        }
        let registry = server.registry
        let failure = server.run(on: home) { gateway -> String? in
            let service = AdminService(registry: registry, gateway: gateway)
            do throws(NetworkError) {
                // Alone on its port: another process that shared it would answer for this one.
                var options = ListenOptions()
                options.reusePort = false
                let listener = try ServerListener(
                    on: socket, options: options, context: gateway.context, tls: nil,
                    settings: ServerSettings(allowsHTTP2: false, idleTimeout: .seconds(30)),
                    connectionSettings: Connection.Settings(),
                    service: service)
                gateway.keepAdmin(listener)
                return nil
            } catch { return "admin: \(error)" }
        }
        if let failure { throw AdminError(description: failure) }
    }
}

struct AdminError: Error, CustomStringConvertible {
    var description: String
}
