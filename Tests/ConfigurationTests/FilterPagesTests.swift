// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Configuration

/// What the pages of docs/filters/ show as a configuration is one.
@Suite struct FilterPagesTests {
    @Test func everyExampleLoads() throws {
        let folder = Checkout.root.appendingPathComponent("docs/filters")
        let pages = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        var count = 0
        for page in pages.sorted(by: { $0.path < $1.path }) where page.pathExtension == "md" {
            let parts = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "```")
            // Every other part is between fences.
            for part in stride(from: 1, to: parts.count, by: 2).map({ parts[$0] }) where part.hasPrefix("yaml\n") {
                count += 1
                #expect(throws: Never.self, "\(page.lastPathComponent)") {
                    _ = try Configuration.parse(
                        text: String(part.dropFirst("yaml\n".count)), file: page.lastPathComponent, surroundings: .assumed)
                }
            }
        }
        #expect(count > 0)
    }
}
