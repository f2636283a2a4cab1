// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Foundation
import Gateway
import TLS
import Testing

/// The configurations in `config/` do not only read well: a gateway can be made of them.
/// One after the other: the environment is the process's.
@Suite(.serialized) struct ExampleTests {
    @Test(arguments: ["minimal.yaml", "edge.yaml"])
    func aGatewayCanBeMadeOfIt(name: String) throws {
        let checkout = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-example-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.copyItem(
            at: checkout.appendingPathComponent("config/\(name)"), to: folder.appendingPathComponent(name))

        let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
        func write(_ text: String, _ file: String) throws {
            try text.write(to: folder.appendingPathComponent(file), atomically: true, encoding: .utf8)
        }
        try write(authority.rootPEM, "internal.pem")
        for (file, type) in [
            ("edge", CertificateAuthority.KeyType.ecdsaP256), ("edge-rsa", .rsa2048), ("edge-client", .ecdsaP256),
            ("partner", .ecdsaP256),
        ] {
            let issued = try authority.issue(
                .init(names: ["api.example.com"], keyType: type, notBefore: 1_600_000_000, notAfter: 4_000_000_000))
            try write(issued.chain, "\(file).pem")
            try write(issued.key, "\(file).key")
            if file == "partner" { unsafe setenv("PARTNER_KEY_PEM", issued.key, 1) }
        }
        unsafe setenv("REDIS_PASSWORD", "of nobody", 1)
        try write("consumers: []", "keys.yaml")
        try write("users: []", "users.yaml")
        let loaded = try Configuration.load(path: folder.appendingPathComponent(name).path)
        _ = try GatewayServer.validate(loaded.configuration)
    }

    /// Whole configurations in the pages about filters read and can be served; their files stand beside them in `config/`, or are made up here.
    @Test func pagesAboutFiltersHaveConfigurationsThatWork() throws {
        let checkout = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let docs = checkout.appendingPathComponent("docs")
        var pages = [docs.appendingPathComponent("filters.md")]
        let more = try? FileManager.default.contentsOfDirectory(at: docs.appendingPathComponent("filters"), includingPropertiesForKeys: nil)
        pages += (more ?? []).filter { $0.pathExtension == "md" }
        var read = 0
        for page in pages {
            let parts = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "```yaml\n").dropFirst()
            for part in parts {
                let text = part.components(separatedBy: "```").first ?? ""
                guard text.hasPrefix("listeners:") else { continue }
                let configuration = try Configuration.parse(text: text, file: page.path).configuration
                _ = try GatewayServer.validate(configuration)
                read += 1
            }
        }
        #expect(read >= 1)
    }
}
