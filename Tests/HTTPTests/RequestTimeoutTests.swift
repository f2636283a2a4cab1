// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// `grpc-timeout` and `X-Request-Timeout-ms`: what is read, and that what is written never says more than there is.
struct RequestTimeoutTests {
    private func grpc(_ nanoseconds: Int64) -> String {
        var output = ByteBuffer()
        RequestTimeout.writeGRPC(nanoseconds, into: &output)
        return output.withReadable { String(copying: $0) }
    }

    private func parsed(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        return RequestTimeout.parseGRPC(bytes.span)
    }

    @Test(
        arguments: [
            ("1n", 1), ("0n", 0), ("99999999n", 99_999_999), ("5u", 5_000), ("250m", 250_000_000), ("15S", 15_000_000_000),
            ("2M", 120_000_000_000), ("1H", 3_600_000_000_000), ("00000001S", 1_000_000_000), ("99999999H", .max),
            ("", nil), ("S", nil), ("1", nil), ("1s", nil), ("1h", nil), ("-1S", nil), ("+1S", nil), ("1.5S", nil), (" 1S", nil),
            ("1 S", nil), ("123456789m", nil), ("1SS", nil), ("1S ", nil), ("1x", nil),
        ] as [(String, Int64?)])
    func reads(text: String, nanoseconds: Int64?) { #expect(parsed(text) == nanoseconds) }

    @Test(arguments: [
        (Int64(0), "0n"), (-5, "0n"), (1, "1n"), (99_999_999, "99999999n"), (100_000_000, "100000u"), (99_999_999_999, "99999999u"),
        (100_000_000_000, "100000m"), (.max, "2562047H"),
    ])
    func writesTheFinestUnitThatHoldsIt(nanoseconds: Int64, text: String) { #expect(grpc(nanoseconds) == text) }

    @Test func neverSaysMoreThanThereIs() throws {
        var draw = Draw(seed: testSeed).bits(request: 1, .fault)
        for _ in 0..<20_000 {
            draw = draw &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let nanoseconds = Int64(draw >> (1 + draw % 60))
            let said = try #require(parsed(grpc(nanoseconds)))
            #expect(said <= nanoseconds && nanoseconds - said <= nanoseconds / 10_000, "HOLDFAST_SEED=\(testSeed) \(nanoseconds)")
        }
    }

    @Test(arguments: [(Int64(0), UInt64(0)), (999_999, 0), (1_000_000, 1), (5_999_999_999, 5_999), (-1, 0), (.max, 99_999_999)])
    func millisecondsAreRoundedDown(nanoseconds: Int64, milliseconds: UInt64) {
        #expect(RequestTimeout.milliseconds(nanoseconds) == milliseconds)
    }
}
