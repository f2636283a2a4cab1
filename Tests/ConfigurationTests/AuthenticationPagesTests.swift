// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// The configurations in the pages about authentication load.
@Suite struct AuthenticationPagesTests {
    @Test(arguments: [("ip_list", 1), ("api_key", 1), ("basic", 1), ("client_certificate", 1), ("jwt", 2), ("forward_auth", 1)])
    func examplesLoad(page: String, count: Int) throws {
        let text = try Checkout.text("docs/filters/\(page).md")
        let blocks = text.components(between: "```yaml\n", and: "```")
        #expect(blocks.count == count)
        for block in blocks {
            #expect(complaints(block) == "")
            #expect(try read(block).configuration.routes[0].filters.first?.kind == page)
        }
    }
}

extension String {
    fileprivate func components(between start: String, and end: String) -> [String] {
        var found: [String] = []
        var rest = self[...]
        while let open = rest.firstRange(of: start) {
            rest = rest[open.upperBound...]
            guard let close = rest.firstRange(of: end) else { break }
            found.append(String(rest[..<close.lowerBound]))
            rest = rest[close.upperBound...]
        }
        return found
    }
}
