// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `Examples/AuditFilter`, which is built with the tests, serves by its own configuration.
@Suite(.serialized) struct EmbeddingTests {
    private static var program: String {
        URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("AuditFilter").path
    }

    @Test func aProgramWithAFilterOfItsOwnServes() throws {
        let folder = try temporaryFolder()
        let file = "\(folder)/gateway.yaml"
        try """
        admin: off
        listeners: [{ name: public, address: 127.0.0.1:0 }]
        routes: [{ match: { path: /* }, answer: { body: "served\\n" }, filters: [{ custom: { name: audit, settings: { level: brief } } }] }]
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let output = "\(folder)/output"
        try Data().write(to: URL(fileURLWithPath: output))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program)
        process.arguments = [file]
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
        try process.run()
        defer {
            // Not by a signal that whoever runs the tests may have blocked: children inherit that.
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        var address = ""
        for _ in 0..<200 where address.isEmpty {
            Thread.sleep(forTimeInterval: 0.05)
            let said = try String(contentsOfFile: output, encoding: .utf8)
            address = said.split(separator: " ").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } ?? ""
        }
        let served = try run("/usr/bin/curl", ["-s", "-i", "-m", "10", "http://\(address)/"])
        #expect(served.output.contains("x-audit: brief") && served.output.hasSuffix("served\n"), "\(served)")
        let frozen = try run(
            "/usr/bin/curl", ["-s", "-i", "-m", "10", "-X", "DELETE", "-H", "x-change-freeze: on", "http://\(address)/"])
        #expect(frozen.output.hasPrefix("HTTP/1.1 423") && frozen.output.hasSuffix("nothing is changed now\n"), "\(frozen)")
    }

    @Test func itSaysWhatIsWrongWithItsConfiguration() throws {
        let folder = try temporaryFolder()
        let file = "\(folder)/gateway.yaml"
        try """
        listeners: [{ name: public, address: 127.0.0.1:0 }]
        routes: [{ match: { path: /* }, answer: {}, filters: [{ custom: { name: audit, settings: { level: loud } } }] }]
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let result = try run(Self.program, [file])
        #expect(
            result.status == 1 && result.output.contains("filter custom: audit: level is loud; expected full or brief"), "\(result)"
        )
    }
}
