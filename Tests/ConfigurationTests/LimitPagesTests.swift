// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// The configurations in the pages about limits and compression load.
struct LimitPagesTests {
    @Test(arguments: ["rate_limit", "compress"]) func examplesLoad(page: String) throws {
        let text = try Checkout.text("docs/filters/\(page).md")
        let start = try #require(text.firstRange(of: "```yaml\n")).upperBound
        let end = try #require(text[start...].firstRange(of: "```")).lowerBound
        let example = String(text[start..<end])
        #expect(complaints(example) == "")
        let configuration = try Configuration.parse(text: example, file: "x.yaml", surroundings: .assumed).configuration
        #expect(configuration.routes[0].filters.contains { $0.kind == page })
    }
}
