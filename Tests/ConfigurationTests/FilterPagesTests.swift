// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Configuration

/// The examples in docs/filters load as they stand there.
@Suite struct FilterPagesTests {
    private static let pages = ["transform", "aggregate"]

    @Test(arguments: pages)
    func examplesLoad(page: String) throws {
        let text = try Checkout.text("docs/filters/\(page).md")
        let examples = text.components(separatedBy: "```yaml\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        #expect(!examples.isEmpty)
        for example in examples {
            let names = Set(example.matches(of: /to: ([a-z][a-z-]*)/).map { String($0.output.1) })
            let upstreams = names.sorted().map { "  \($0): { endpoints: [\"127.0.0.1:1\"] }\n" }.joined()
            let whole = "listeners: [{ name: l, address: \"127.0.0.1:80\" }]\nupstreams:\n\(upstreams)\(example)"
            #expect(complaints(whole) == "", "\(example)")
        }
    }
}
