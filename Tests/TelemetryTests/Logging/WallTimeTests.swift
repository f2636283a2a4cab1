// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Telemetry

@Suite struct WallTimeTests {
    private func formats(_ nanoseconds: Int64) -> [String] {
        var format = WallTimeFormat()
        return [text { format.appendRFC3339(nanoseconds, to: &$0) }, text { format.appendCommonLog(nanoseconds, to: &$0) }]
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999Z", "28/Feb/2000:23:59:59 +0000"),
            (951_868_800_000_000_000, "2000-03-01T00:00:00.000Z", "01/Mar/2000:00:00:00 +0000"),
            (1_709_164_800_001_000_000, "2024-02-29T00:00:00.001Z", "29/Feb/2024:00:00:00 +0000"),
            (1_795_579_380_123_456_789, "2026-11-25T04:03:00.123Z", "25/Nov/2026:04:03:00 +0000"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000"),
            (.min, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (.max, "2262-04-11T23:47:16.854Z", "11/Apr/2262:23:47:16 +0000"),
        ] as [(Int64, String, String)])
    func times(nanoseconds: Int64, rfc3339: String, common: String) {
        #expect(formats(nanoseconds) == [rfc3339, common])
    }

    @Test func agreesWithTheLibraryOnEveryKindOfDay() {
        var random = Seeded()
        var format = WallTimeFormat()
        for _ in 0..<5_000 {
            var second = Int.random(in: 0..<9_223_372_036, using: &random)
            var fields = unsafe tm()
            unsafe gmtime_r(&second, &fields)
            var buffer = [CChar](repeating: 0, count: 64)
            unsafe strftime(&buffer, 64, "%Y-%m-%dT%H:%M:%S.000Z %d/%b/%Y:%H:%M:%S +0000", &fields)
            let expected = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let told = bytes {
                format.appendRFC3339(Int64(second) * 1_000_000_000, to: &$0)
                $0.append(UInt8(ascii: " "))
                format.appendCommonLog(Int64(second) * 1_000_000_000, to: &$0)
            }
            #expect(told == expected, "second \(second), \(Seeded.note)")
        }
    }
}
