// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Configuration

/// What the pages about filters show as a configuration is one. A block that begins with its routes has its listener and upstreams made up.
@Suite struct FilterPagesTests {
    private static var pages: [URL] {
        let docs = Checkout.root.appendingPathComponent("docs")
        let more = try? FileManager.default.contentsOfDirectory(
            at: docs.appendingPathComponent("filters"), includingPropertiesForKeys: nil)
        return [docs.appendingPathComponent("filters.md")]
            + (more ?? []).filter { $0.pathExtension == "md" }.sorted { $0.path < $1.path }
    }

    @Test func everyPageHasExamplesAndTheyLoad() throws {
        #expect(Self.pages.count > 5)
        for page in Self.pages {
            let blocks = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "```yaml\n").dropFirst()
                .map { $0.components(separatedBy: "```")[0] }
            var loaded = 0
            for block in blocks {
                guard block.hasPrefix("routes:") || block.contains("listeners:") else { continue }
                loaded += 1
                #expect(complaints(whole(block)) == "", "\(page.lastPathComponent):\n\(block)")
            }
            #expect(loaded > 0 || blocks.isEmpty, "\(page.lastPathComponent)")
        }
    }

    private func whole(_ block: String) -> String {
        if block.contains("listeners:") { return block }
        let names = Set(block.matches(of: /\b(?:to|from): ([a-z][a-z-]*)/).map { String($0.output.1) })
        let upstreams = names.sorted().map { "  \($0): { endpoints: [\"127.0.0.1:1\"] }\n" }.joined()
        return "listeners: [{ name: l, address: \"127.0.0.1:80\" }]\nupstreams:\n\(upstreams)\(block)"
    }
}
