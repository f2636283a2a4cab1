// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The real binary, asked by real clients. `make test` builds it and names it in HOLDFAST.
@Suite(.serialized) struct EndToEndTests {
    @Test func servesTheDemoOverTLSWithBothProtocols() throws {
        let demo = try Demo()
        defer { demo.kill() }
        let users = #"[{"id":1,"name":"Ada"},{"id":2,"name":"Grace"},{"id":3,"name":"Barbara"}]"# + "\n"
        for version in ["--http1.1", "--http2", "--http1.0"] {
            let answer = try demo.curl([version, "-w", "%{http_code} %{http_version}", demo.url("/users")])
            #expect(answer == users + "200 \(version == "--http2" ? "2" : "1.1")", "\(version)")
        }
        #expect(try demo.curl(["-w", "%{http_code}", demo.url("/orders/9")]) == "{\"error\":\"there is no such thing\"}\n404")
        #expect(try demo.curl([demo.url("/")]) == "users, orders and products are here\n")
        #expect(try demo.stop() == 0)
    }

    /// What the demo tells a user to type works as it stands. The one line that waits for the breaker is left out.
    @Test func everyLineThatTheDemoPrintsWorks() throws {
        let demo = try Demo()
        defer { demo.kill() }
        let lines = demo.log.split(separator: "\n").filter { line in
            ["  curl ", "  for ", "  tail "].contains { line.hasPrefix($0) }
        }
        #expect(lines.count >= 12)
        var said = ""
        for line in lines {
            let result = try run("/bin/bash", ["-c", String(line)])
            #expect(result.status == 0 && !result.output.isEmpty, "\(line)")
            said += result.output
        }
        for word in [
            "timeout.per_try", "breaker.open", "retry-after: ", "location: /users/2", #""complete":true}"#,
            #"{"id":1001,"status":"N","customer":{"id":1}"#,
        ] {
            #expect(said.contains(word), "\(word)")
        }
        #expect(try demo.stop() == 0)
    }

    @Test(arguments: [0, 1, 65_535, 65_537, 3_000_000])
    func uploadsArriveWhole(size: Int) throws {
        let demo = try Demo()
        defer { demo.kill() }
        let body = demo.folder + "/body"
        try Data(repeating: 0x61, count: size).write(to: URL(fileURLWithPath: body))
        for arguments in [["--http1.1"], ["--http2"], ["--http1.1", "-H", "Transfer-Encoding: chunked"]] {
            let answer = try demo.curl(arguments + ["--data-binary", "@\(body)", demo.url("/orders")])
            #expect(answer == "{\"accepted_bytes\":\(size)}\n", "\(arguments)")
        }
        #expect(try demo.stop() == 0)
    }

    @Test func aFailingServiceOpensItsBreakerAndOthersGoOn() throws {
        let demo = try Demo()
        defer { demo.kill() }
        for _ in 0..<12 { _ = try demo.curl([demo.url("/products/broken")]) }
        let refused = try demo.curl(["-i", "--http1.1", demo.url("/products")])
        #expect(refused.hasPrefix("HTTP/1.1 503 "))
        #expect(refused.contains("\r\nretry-after: "))
        #expect(refused.contains("\"reason\":\"breaker.open\""))
        #expect(try demo.curl(["-o", "/dev/null", "-w", "%{http_code}", demo.url("/users")]) == "200")
        let metrics = try run("/usr/bin/curl", ["-s", "-m", "10", "http://127.0.0.1:\(demo.adminPort)/metrics"]).output
        #expect(metrics.contains("holdfast_breaker_state{upstream=\"products\"} 1\n"))
        #expect(metrics.contains("holdfast_bulkhead_permits_in_use{upstream=\"products\"} 0\n"))
        #expect(metrics.contains("holdfast_reasons_total{reason=\"breaker.open\"} "))
        #expect(try demo.stop() == 0)
    }

    @Test func aHangingServiceMeetsThePerTryTimeout() throws {
        let demo = try Demo()
        defer { demo.kill() }
        let answer = try demo.curl(["-i", "--http1.1", "-X", "PATCH", demo.url("/users/slow")])
        #expect(answer.hasPrefix("HTTP/1.1 504 "))
        #expect(answer.contains("\"reason\":\"timeout.per_try\""))
        #expect(try demo.stop() == 0)
    }

    /// Versions, ALPN and what a client must not do (cases D03, D05, and clear HTTP on the TLS port).
    @Test func speaksTLSAsPromised() throws {
        let demo = try Demo()
        defer { demo.kill() }
        func client(_ arguments: String) throws -> String {
            try run(
                "/bin/sh",
                [
                    "-c",
                    "timeout 10 openssl s_client -connect 127.0.0.1:\(demo.port) -CAfile \(demo.folder)/ca.pem \(arguments) </dev/null 2>&1",
                ]
            ).output
        }
        #expect(try client("-tls1_3 -servername localhost -alpn h2").contains("ALPN protocol: h2"))
        #expect(try client("-tls1_2 -servername localhost").contains("Verify return code: 0 (ok)"))
        #expect(try client("-tls1_1").contains("alert"))
        #expect(try client("-alpn foo").contains("no application protocol"))
        let clear = try run("/usr/bin/curl", ["-s", "-m", "10", "http://127.0.0.1:\(demo.port)/users"]).output
        #expect(clear.contains("This port speaks TLS"))
    }

    /// A reset while cipher bytes waited once ended the process by endless recursion.
    @Test func clientsThatVanishDoNotStopIt() throws {
        let demo = try Demo()
        defer { demo.kill() }
        for _ in 0..<20 {
            _ = try run(
                "/bin/sh",
                ["-c", "timeout -s KILL 0.05 curl -sk --http2 -o /dev/null https://localhost:\(demo.port)/users/slow; true"])
        }
        #expect(try demo.curl(["-o", "/dev/null", "-w", "%{http_code}", demo.url("/users")]) == "200")
        #expect(try demo.stop() == 0)
    }

    @Test func h2loadSeesNoFailure() throws {
        let demo = try Demo()
        defer { demo.kill() }
        for arguments in [["-n", "20000", "-c", "8", "-m", "16"], ["-n", "10000", "-c", "16", "--h1"]] {
            let answer = try run("/usr/bin/h2load", arguments + [demo.url("/users")]).output
            #expect(answer.contains("0 failed, 0 errored, 0 timeout"), "\(answer.suffix(600))")
        }
        #expect(try demo.stop() == 0)
    }

    @Test func aBadConfigurationIsRefusedAtItsPlace() throws {
        let folder = try temporaryFolder()
        let file = folder + "/bad.yaml"
        try Data("listeners:\n  - name: a\n    adress: 127.0.0.1:0\nroutes: []\n".utf8).write(to: URL(fileURLWithPath: file))
        let checked = try run(try binary(), ["check", file])
        #expect(checked.status == 1)
        #expect(checked.errors.contains("\(file):3:5: "))
        #expect(checked.errors.contains("address"))
        let missing = try run(try binary(), ["run", folder + "/none.yaml"])
        #expect(missing.status == 1)
        #expect(missing.errors.split(separator: "\n").count == 1)
        #expect(try run(try binary(), ["--version"]).output == "0.1.0\n")
    }
}
