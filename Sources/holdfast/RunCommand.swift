// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Admin
import ArgumentParser
import Configuration
import Gateway
import Reactor

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Serve as a configuration says.",
        discussion: """
            SIGHUP reads the configuration and the certificates again; a bad file changes nothing and the log says why. SIGTERM \
            and SIGINT drain: no new connections, requests under way end (at most `drain`, 30 s by default), exit 0; a second \
            one ends at once. Metrics: http://127.0.0.1:9901/metrics, unless `admin` says otherwise.

            EXAMPLE
              holdfast run config/minimal.yaml
            """)

    @Argument(help: "The configuration, a YAML file.") var file: String

    func run() throws {
        StandardDescriptors.fill()
        let signals = SignalQueue()
        DescriptorLimit.raise()
        let log = try GatewayLog.standardError()
        let loaded = try Complain.load(file)
        for warning in loaded.warnings { log.warning("configuration", "\(warning)") }
        let server = try Complain.about(file) { try GatewayServer(configuration: loaded.configuration, log: log) }
        try Complain.about(file) { try server.start() }
        do {
            if let admin = loaded.configuration.admin { try Complain.about(file) { try AdminServer.start(admin, for: server) } }
        } catch {
            server.stop()
            throw error
        }
        for (name, address) in server.addresses { log.info("listener", "listening", [("name", name), ("address", address)]) }
        ServeLoop(server: server, log: log, signals: signals, file: file).run()
        log.flush()
    }
}
