// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// A single byte range of a request (RFC 9110 §14.1.2, §14.2), applied to a body whose length is known.
package enum ByteRange: Equatable, Sendable {
    /// No range that is understood, or several: the whole is sent, as §14.2 allows.
    case whole
    case part(Range<Int>)
    /// 416.
    case unsatisfiable

    package init(_ field: Span<UInt8>, length: Int) {
        self = .whole
        guard field.count > 6, field.extracting(0..<6).equalsIgnoringCase("bytes=") else { return }
        var i = 6
        guard let first = ByteRange.number(field, &i), i < field.count, field[i] == 45 else { return }
        i += 1
        guard let last = ByteRange.number(field, &i), i == field.count else { return }
        switch (first, last) {
        case (nil, nil): return
        case (nil, let suffix?):
            self = suffix == 0 || length == 0 ? .unsatisfiable : .part(max(0, length - suffix)..<length)
        case (let from?, nil):
            self = from < length ? .part(from..<length) : .unsatisfiable
        case (let from?, let to?):
            if to < from { return }
            self = from < length ? .part(from..<min(to &+ 1, length)) : .unsatisfiable
        }
    }

    /// Digits at `i`: outer nil if there are too many for any body, inner nil if there are none.
    private static func number(_ field: Span<UInt8>, _ i: inout Int) -> Int?? {
        let start = i
        var value = 0
        while i < field.count, field[i].isDigit {
            if i - start >= 18 { return nil }
            value = value * 10 + Int(field[i] - 48)
            i += 1
        }
        return .some(i == start ? nil : value)
    }
}
