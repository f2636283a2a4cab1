// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

/// docs/reasons.md lists every reason with the statuses that the code gives it, in the code's order, and nothing else.
@Suite struct ReasonPageTests {
    @Test func listsEveryReasonWithItsStatuses() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/reasons.md")
        let rows = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("| `") }
        let listed = rows.map { row in row.split(separator: "|").prefix(3).joined(separator: "|") }
        let expected = Reason.allCases.map { " `\($0.rawValue)` | \($0.httpStatus) | \($0.grpcStatus) " }
        #expect(listed == expected)
    }

    @Test func everyRowSaysWhen() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/reasons.md")
        for row in try String(contentsOf: page, encoding: .utf8).split(separator: "\n") where row.hasPrefix("| `") {
            let cells = row.split(separator: "|")
            #expect(cells.count == 4 && cells[3].count > 4, "\(row)")
        }
    }
}
