// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Gateway

/// Serves until the signals say otherwise: SIGHUP reloads, SIGTERM and SIGINT drain, a second one ends at once.
struct ServeLoop {
    let server: GatewayServer
    let log: GatewayLog
    let signals: SignalQueue
    /// What SIGHUP reads again.
    let file: String

    func run() {
        var isDraining = false
        while true {
            switch signals.next() {
            case .reload:
                if isDraining { log.info("reload", "not while draining") } else { reload() }
            case .terminate:
                if isDraining {
                    log.warning("drain", "a second signal: ending at once")
                    server.stop()
                    return
                }
                isDraining = true
                log.info("drain", "draining", [("limit", "\(server.configuration.drain)")])
                server.drain { SignalQueue.reportDrained() }
            case .drained:
                if isDraining {
                    server.stop()
                    log.info("drain", "ended")
                    return
                }
            }
        }
    }

    private func reload() {
        server.reopenLogs()
        do throws(ConfigurationErrors) {
            let loaded = try Configuration.load(path: file)
            for warning in loaded.warnings { log.warning("configuration", "\(warning)") }
            do {
                try server.reload(loaded.configuration)
                log.info("reload", "reloaded", [("file", file)])
            } catch {
                log.error("reload", "refused, nothing changed", [("why", "\(error)")])
            }
        } catch {
            for complaint in error.complaints { log.error("reload", "refused, nothing changed", [("why", "\(complaint)")]) }
        }
    }
}
