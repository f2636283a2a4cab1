// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// The argument of a directive that is a number of seconds (RFC 9111 §1.2.2).
package enum DeltaSeconds: Equatable, Sendable {
    /// The directive is not there.
    case absent
    /// It is there and says nothing that can be relied on: no digits, or two different numbers. §4.2.1 encourages to take such an answer for stale.
    case invalid
    case seconds(Int64)

    /// A larger number is read as this one: 2^31, as §1.2.2 asks for.
    package static let longest: Int64 = 2_147_483_648

    /// The number, or 0 for what is invalid: the safe reading of a lifetime.
    package var lifetime: Int64? {
        switch self {
        case .absent: nil
        case .invalid: 0
        case .seconds(let n): n
        }
    }

    /// The number if there is a valid one: the safe reading of a permission.
    package var permitted: Int64? {
        if case .seconds(let n) = self { n } else { nil }
    }

    /// 1*DIGIT and nothing else.
    static func read(_ text: Span<UInt8>) -> DeltaSeconds {
        if text.isEmpty { return .invalid }
        var value: Int64 = 0
        for i in 0..<text.count {
            guard text[i].isDigit else { return .invalid }
            value = min(value * 10 + Int64(text[i] - 48), longest)
        }
        return .seconds(value)
    }

    /// Takes another occurrence in: the same number again is no harm, a different one makes both worthless (§4.2.1).
    mutating func merge(_ item: DirectiveList.Item, in field: Span<UInt8>) {
        var next = DeltaSeconds.invalid
        if !item.isMalformed, let range = item.value { next = .read(field.extracting(range)) }
        self = self == .absent || self == next ? next : .invalid
    }
}
