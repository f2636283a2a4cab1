// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Admin
import ArgumentParser
import Configuration
import Gateway
import Glibc
import Reactor
import TLS

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show the gateway at work, with nothing to set up.",
        discussion: """
            Makes a local certificate authority, starts three services (users, orders, products) and the gateway before them over \
            TLS with HTTP/1.1 and HTTP/2, and prints curl lines to try. The folder it names holds the authority and the \
            configuration that it runs by. Ctrl-C drains and ends it.

            EXAMPLE
              holdfast demo --port 9443
            """)

    @Option(help: "The gateway's TLS port on 127.0.0.1; 0 takes a free one.") var port = 8443
    @Option(help: "The port of metrics and health on 127.0.0.1; 0 takes a free one.") var adminPort = 9901
    @Option(help: "Where certificates and configuration are written. Default: a new folder in /tmp.") var directory: String?

    func validate() throws {
        for number in [port, adminPort] where !(0...65_535).contains(number) {
            throw ValidationError("\(number) is no port: 0 to 65535")
        }
    }

    func run() throws {
        let signals = SignalQueue()
        DescriptorLimit.raise()
        let log = try GatewayLog.standardError()
        let folder = try DemoFolder(directory)
        let services = try DemoServices()
        defer { services.stop() }
        let file = try folder.write(
            "holdfast.yaml", DemoConfiguration.text(port: port, adminPort: adminPort, services: services.addresses))
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
        let address = server.addresses.first { $0.name == "public" }?.address ?? "127.0.0.1:\(port)"
        let chosen = address.split(separator: ":").last.map(String.init) ?? "\(port)"
        print(DemoConfiguration.introduction(port: chosen, adminPort: adminPort, folder: folder.path))
        fflush(nil)
        ServeLoop(server: server, log: log, signals: signals, file: file).run()
        log.flush()
    }
}

/// What the demo runs by and what it says.
enum DemoConfiguration {
    static func text(port: Int, adminPort: Int, services: [(name: String, address: String)]) -> String {
        let upstreams = services.map { name, address in
            """
              \(name):
                endpoints: ["\(address)"]
                guard:
                  timeouts: { per_try: 1s, total: 3s }
                  breaker: { minimum_calls: 10, open_for: 5s }
            """
        }
        let routes = services.map { name, _ in "  - { match: { path: /\(name)/* }, to: \(name) }" }
        return """
            # Written by `holdfast demo`.
            threads: 1
            access_log: off
            admin: 127.0.0.1:\(adminPort)
            listeners:
              - name: public
                address: 127.0.0.1:\(port)
                tls: { certificates: [{ chain: edge.pem, key: edge.key }], protocols: [h2, http/1.1] }
            upstreams:
            \(upstreams.joined(separator: "\n"))
            routes:
            \(routes.joined(separator: "\n"))
              - { match: { path: / }, answer: { status: 200, body: "users, orders and products are here\\n" } }

            """
    }

    static func introduction(port: String, adminPort: Int, folder: String) -> String {
        """

        Holdfast serves users, orders and products at https://localhost:\(port), with a certificate of its own authority.

          curl --cacert \(folder)/ca.pem https://localhost:\(port)/users
          curl --cacert \(folder)/ca.pem https://localhost:\(port)/orders/1 -i
          curl --cacert \(folder)/ca.pem --http1.1 -d '{"user":1,"product":2}' https://localhost:\(port)/orders

        The guard: a service that fails opens its breaker, and refusals are fast until it has recovered.

          for i in $(seq 20); do curl -s --cacert \(folder)/ca.pem -o /dev/null -w '%{http_code} ' https://localhost:\(port)/products/broken; done; echo
          curl --cacert \(folder)/ca.pem https://localhost:\(port)/products -i      # breaker.open, with Retry-After
          curl -s http://127.0.0.1:\(adminPort)/metrics | grep holdfast_breaker_state

        Slower than the upstream's per-try timeout of 1 s:

          curl --cacert \(folder)/ca.pem https://localhost:\(port)/users/slow -i

        The configuration is \(folder)/holdfast.yaml. Ctrl-C drains and ends it.

        """
    }
}

/// The folder with the demo's files.
struct DemoFolder {
    let path: String

    init(_ given: String?) throws {
        if let given {
            guard unsafe (mkdir(given, 0o755) == 0 || errno == EEXIST) else {
                Complain.standardError("demo: cannot make the folder \(given)")
                throw ExitCode(1)
            }
            path = given
            return
        }
        var template = Array("/tmp/holdfast-demo-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            Complain.standardError("demo: cannot make a folder in /tmp")
            throw ExitCode(1)
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Writes a file that only its owner can read. Returns its path.
    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        let file = "\(path)/\(name)"
        let descriptor = unsafe open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        let bytes = Array(text.utf8)
        guard descriptor >= 0, unsafe Glibc.write(descriptor, bytes, bytes.count) == bytes.count, close(descriptor) == 0 else {
            Complain.standardError("demo: cannot write \(file)")
            throw ExitCode(1)
        }
        return file
    }

    func writeCertificates() throws {
        let now = WallClock.nanoseconds / 1_000_000_000
        let authority = try CertificateAuthority(
            commonName: "Holdfast demo authority", notBefore: now - 3_600, notAfter: now + 30 * 86_400)
        let edge = try authority.issue(
            CertificateAuthority.Request(names: ["localhost", "127.0.0.1"], notBefore: now - 3_600, notAfter: now + 30 * 86_400))
        try write("ca.pem", authority.rootPEM)
        try write("edge.pem", edge.chain)
        try write("edge.key", edge.key)
    }
}
