// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Admin
import ArgumentParser
import Configuration
import Gateway
import Glibc
import Reactor

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show the gateway at work, with nothing to set up.",
        discussion: """
            Makes a local certificate authority, starts three services (users, orders, products) and the gateway before them over \
            TLS with HTTP/1.1 and HTTP/2, and prints curl lines to try: plain requests, a retry that nobody sees, a timeout, \
            and a breaker that opens and closes again. All of it is on 127.0.0.1.

            The folder that it names holds the authority's certificate, the access log and holdfast.yaml, the configuration it \
            runs by: change that, send SIGHUP, and see what happens; or take it as a start for your own. Ctrl-C drains and ends.

            EXAMPLES
              holdfast demo
              holdfast demo --port 9443 --directory ./demo
            """)

    @Option(help: "The gateway's TLS port; 0 takes a free one.") var port = 8443
    @Option(help: "The gateway's port without TLS; 0 takes a free one.") var clearPort = 8080
    @Option(help: "The port of metrics and health; 0 takes a free one.") var adminPort = 9901
    @Option(help: "Where certificates, configuration and access log are written. Default: a new folder in /tmp.")
    var directory: String?

    func validate() throws {
        let numbers = [port, clearPort, adminPort]
        for number in numbers where !(0...65_535).contains(number) { throw ValidationError("\(number) is no port: 0 to 65535") }
        let chosen = numbers.filter { $0 != 0 }
        if Set(chosen).count < chosen.count { throw ValidationError("each port has one use: take different ones") }
    }

    func run() throws {
        StandardDescriptors.fill()
        let signals = SignalQueue()
        DescriptorLimit.raise()
        let log = try GatewayLog.standardError()
        let ports = try DemoPorts(tls: port, clear: clearPort, admin: adminPort)
        let folder = try DemoFolder(directory)
        let services = try DemoServices()
        defer { services.stop() }
        let file = try folder.write("holdfast.yaml", DemoConfiguration.text(ports: ports, services: services.addresses))
        try folder.writeCertificates()
        let loaded = try Complain.load(file)
        let server = try Complain.about("demo") { try GatewayServer(configuration: loaded.configuration, log: log) }
        try Complain.about("demo") { try server.start() }
        do {
            if let admin = loaded.configuration.admin { try Complain.about("demo") { try AdminServer.start(admin, for: server) } }
        } catch {
            server.stop()
            throw error
        }
        print(DemoIntroduction.text(ports: ports, folder: folder.path))
        fflush(nil)
        ServeLoop(server: server, log: log, signals: signals, file: file).run()
        log.flush()
    }
}
