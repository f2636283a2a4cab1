// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Configuration

/// What is outside the text: the file itself, the files that it names, secrets.
struct FilesTests {
    /// A folder of its own for each test.
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-\(UUID().uuidString)")

    private func inFolder(_ files: [String: String], _ body: (String) throws -> Void) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, text) in files { try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8) }
        try body(folder.path)
    }

    @Test func relativePathsStartAtTheFolder() throws {
        let text = minimal(
            top: "access_log: { path: access.log }",
            listener: "tls: { certificates: [{ chain: edge.pem, key: { file: edge.key } }] }", upstream: "tls: { ca: ca.pem }")
        try inFolder(["edge.yaml": text, "edge.pem": "", "edge.key": "", "ca.pem": ""]) { path in
            let configuration = try Configuration.load(path: path + "/edge.yaml").configuration
            let certificate = try #require(configuration.listeners[0].tls?.certificates.first)
            #expect(certificate.chain == path + "/edge.pem")
            #expect(certificate.key == Secret(.file(path + "/edge.key")))
            #expect(configuration.upstreams[0].tls?.ca == path + "/ca.pem")
            #expect(configuration.accessLog?.destination == .file(path + "/access.log"))
        }
    }

    @Test func unreadableFilesAreNamed() throws {
        let text = minimal(
            listener:
                "tls: { certificates: [{ chain: none.pem, key: /nowhere/edge.key }, { chain: \".\", key: { env: HOLDFAST_TEST_NO_SUCH } }] }"
        )
        try inFolder(["edge.yaml": text]) { path in
            let error = #expect(throws: ConfigurationErrors.self) { try Configuration.load(path: path + "/edge.yaml") }
            let file = path + "/edge.yaml"
            #expect(
                error?.description == """
                    \(file):3:72: listeners[0].tls.certificates[0].chain: the file "\(String((path + "/none.pem").prefix(60)))\((path + "/none.pem").count > 60 ? "…" : "")" cannot be read: No such file or directory
                    \(file):3:87: listeners[0].tls.certificates[0].key: the file "/nowhere/edge.key" cannot be read: No such file or directory
                    \(file):3:117: listeners[0].tls.certificates[1].chain: the file "\(String((path + "/.").prefix(60)))\((path + "/.").count > 60 ? "…" : "")" cannot be read: Is a directory
                    \(file):3:134: listeners[0].tls.certificates[1].key.env: the environment variable "HOLDFAST_TEST_NO_SUCH" is not set
                    """)
        }
    }

    @Test func theFileItself() throws {
        #expect(
            throws: ConfigurationErrors([
                Complaint(file: "/nowhere/x.yaml", position: nil, message: "cannot be read: No such file or directory")
            ])
        ) {
            try Configuration.load(path: "/nowhere/x.yaml")
        }
        #expect(throws: ConfigurationErrors([Complaint(file: "/tmp", position: nil, message: "cannot be read: Is a directory")])) {
            try Configuration.load(path: "/tmp")
        }
        try inFolder([:]) { path in
            try Data([0x61, 0xFF]).write(to: folder.appendingPathComponent("x.yaml"))
            #expect(
                throws: ConfigurationErrors([Complaint(file: path + "/x.yaml", position: nil, message: "is not text in UTF-8")])
            ) {
                try Configuration.load(path: path + "/x.yaml")
            }
            try Data(repeating: 0x20, count: YAMLComposer.maximumBytes + 10).write(to: folder.appendingPathComponent("x.yaml"))
            let error = #expect(throws: ConfigurationErrors.self) { try Configuration.load(path: path + "/x.yaml") }
            #expect(error?.complaints.first?.message.contains("a configuration has at most") == true)
        }
    }

    @Test func secretsAreReadAndNotShown() throws {
        try inFolder(["key": "open sesame"]) { path in
            let secret = Secret(.file(path + "/key"))
            #expect(try secret.reveal() == Array("open sesame".utf8))
            #expect("\(secret)" == "file \(path)/key")
            #expect(String(reflecting: secret).contains("sesame") == false)
            try Data(repeating: 0x61, count: Secret.maximumBytes + 1).write(to: folder.appendingPathComponent("long"))
            #expect(throws: SecretError(description: "file \(path)/long: longer than 1048576 bytes")) {
                try Secret(.file(path + "/long")).reveal()
            }
        }
        #expect(try Secret(.environment("PATH")).reveal().isEmpty == false)
        #expect(throws: SecretError(description: "environment variable HOLDFAST_TEST_NO_SUCH: not set")) {
            try Secret(.environment("HOLDFAST_TEST_NO_SUCH")).reveal()
        }
        #expect(throws: SecretError(description: "file /nowhere/key: No such file or directory")) {
            try Secret(.file("/nowhere/key")).reveal()
        }
    }
}
