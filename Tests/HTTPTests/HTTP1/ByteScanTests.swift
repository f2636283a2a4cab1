// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import HTTP

/// The word-wise scans against plain loops: each byte value at each place, behind every start, in runs around the width of
/// a step.
struct ByteScanTests {
    private func check(
        _ label: String, filler: UInt8, scan: (Span<UInt8>, Int) -> Int, stops: (UInt8) -> Bool
    ) {
        for length in [0, 1, 8, 15, 16, 17, 34] {
            for place in 0..<max(length, 1) {
                for byte in UInt8.min...UInt8.max {
                    var bytes = [UInt8](repeating: filler, count: length)
                    if length > 0 { bytes[place] = byte }
                    // Another stop right behind: no borrow may reach from one to the other.
                    if place + 1 < length { bytes[place + 1] = 0 }
                    for start in [0, place, min(place + 1, length)] {
                        let expected = bytes[start...].firstIndex(where: stops) ?? length
                        let found = scan(bytes.span, start)
                        if found != expected {
                            Issue.record("\(label): \(found) instead of \(expected) from \(start) in \(bytes)")
                            return
                        }
                    }
                }
            }
        }
    }

    private static let token = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)

    @Test func tokens() {
        check("token", filler: UInt8(ascii: "q"), scan: { $0.endOfToken(from: $1) }, stops: { !ByteScanTests.token.contains($0) })
        check("token", filler: UInt8(ascii: "_"), scan: { $0.endOfToken(from: $1) }, stops: { !ByteScanTests.token.contains($0) })
    }

    @Test func fieldValues() {
        let stops: (UInt8) -> Bool = { ($0 < 32 && $0 != 9) || $0 == 127 }
        check("value", filler: UInt8(ascii: " "), scan: { $0.endOfFieldValue(from: $1) }, stops: stops)
        check("value", filler: 0xff, scan: { $0.endOfFieldValue(from: $1) }, stops: stops)
        check("value", filler: 9, scan: { $0.endOfFieldValue(from: $1) }, stops: stops)
    }

    @Test func targets() {
        let stops: (UInt8) -> Bool = { $0 < 33 || $0 > 126 || $0 == 35 || $0 == 63 }
        check("target", filler: UInt8(ascii: "!"), scan: { $0.endOfTargetPart(from: $1) }, stops: stops)
        check("target", filler: UInt8(ascii: "~"), scan: { $0.endOfTargetPart(from: $1) }, stops: stops)
    }

    @Test func lineFeeds() {
        check("line feed", filler: 11, scan: { $0.lineFeed(from: $1) }, stops: { $0 == 10 })
        check("line feed", filler: 138, scan: { $0.lineFeed(from: $1) }, stops: { $0 == 10 })
    }

    @Test func lowersLettersInTheirRangeOnly() {
        for length in [1, 5, 15, 16, 17, 40] {
            for lower in 0..<length {
                for upper in lower...length {
                    let bytes = (0..<length).map { UInt8(truncatingIfNeeded: 0x38 + $0 * 7) | ($0 % 5 == 0 ? 0x80 : 0x40) }
                    var folded = bytes
                    var span = folded.mutableSpan
                    span.lowercase(lower..<upper)
                    for i in 0..<length {
                        let expected = (lower..<upper).contains(i) ? bytes[i].asciiLowercased : bytes[i]
                        #expect(folded[i] == expected)
                    }
                }
            }
        }
        var all = (0...255).map { UInt8($0) }
        var span = all.mutableSpan
        span.lowercase(0..<256)
        #expect(all == (0...255).map { UInt8($0).asciiLowercased })
    }

    @Test func classes() {
        for byte in UInt8.min...UInt8.max {
            #expect(byte.isTokenOctet == ByteScanTests.token.contains(byte))
            let isHost =
                byte < 128
                && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber
                    || "-._~".utf8.contains(byte))
            #expect(byte.isHostOctet == isHost)
        }
    }
}
