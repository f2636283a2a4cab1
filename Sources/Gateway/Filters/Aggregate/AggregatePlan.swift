// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON

/// What a document is made of: its parts, in the document's order, and where each goes. Compiled once.
struct AggregatePlan: Sendable {
    struct Part: Sendable {
        var name: [UInt8]
        var isRequired = true
        /// In place of a part that is missing.
        var fallback: JSONDocument?
        /// A 404 says that there is nothing, and nothing is missing.
        var notFoundIsAbsent = false
        var take = JSONPath()
        var placement: Placement
        var byteLimit = 1 << 20
        /// Parts that must have ended before this one starts.
        var waitsFor: [Int] = []
    }

    enum Placement: Sendable {
        case member([UInt8])
        case flatten
        case join(Join)
    }

    struct Join: Sendable {
        var into: Int
        var list: JSONPath
        var on: JSONPath
        var key: JSONPath
        var member: [UInt8]
    }

    var parts: [Part]
    var completeName: [UInt8]?
    var missingName: [UInt8]?
    /// Of all answers together, and of the document.
    var byteLimit = 4 << 20
}
