// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

struct UnitsTests {
    @Test(arguments: [
        ("1ns", 1), ("1us", 1_000), ("250ms", 250_000_000), ("5s", 5_000_000_000), ("1.5s", 1_500_000_000), ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000), ("0s", 0), ("0.000000001s", 1), ("007s", 7_000_000_000),
    ])
    func durations(text: String, nanoseconds: Int) throws {
        #expect(try Units.nanoseconds(text) == nanoseconds)
        #expect(try Units.nanoseconds(Units.duration(.nanoseconds(nanoseconds))) == nanoseconds)
    }

    @Test(arguments: [
        "", "s", "5", "5 s", " 5s", "5S", "5sec", "5µs", "-5s", "+5s", "1e3s", "1.s", ".5s", "1..5s", "0.0000000001s",
        "99999999999999999999s", "9999999999999h",
        "٥s", "5s\n", "0x5s", "1,5s",
    ])
    func noDurations(text: String) {
        #expect(throws: ScalarProblem.self) { try Units.nanoseconds(text) }
    }

    @Test(arguments: [
        ("1B", 1), ("64KiB", 65_536), ("1KB", 1_000), ("1.5KiB", 1_536), ("8MiB", 8_388_608), ("2GB", 2_000_000_000),
        ("1TiB", 1 << 40), ("0B", 0),
    ])
    func sizes(text: String, bytes: Int) throws {
        #expect(try Units.bytes(text) == bytes)
        #expect(try Units.bytes(Units.size(bytes)) == bytes)
    }

    @Test(arguments: ["", "64", "64K", "64k", "64kB", "64 KiB", "KiB", "0.5B", "99999999999TiB", "64KiBs"])
    func noSizes(text: String) {
        #expect(throws: ScalarProblem.self) { try Units.bytes(text) }
    }

    @Test(arguments: [
        ("3/second", 3_000), ("0.5/second", 500), ("5/minute", 83), ("60/minute", 1_000), ("3600/hour", 1_000), ("0/second", 0),
    ])
    func rates(text: String, thousandths: Int) throws {
        #expect(try Units.thousandthsPerSecond(text) == thousandths)
    }

    @Test(arguments: [
        "", "/", "3", "3/", "3/s", "3 / second", "/second", "-1/second", "3/second/second", "99999999999999999/second",
    ])
    func noRates(text: String) {
        #expect(throws: ScalarProblem.self) { try Units.thousandthsPerSecond(text) }
    }

    @Test(arguments: [("20%", 2_000), ("0.5%", 50), ("0.01%", 1), ("100%", 10_000), ("0%", 0)])
    func shares(text: String, tenThousandths: Int) throws {
        #expect(try Units.tenThousandths(text) == tenThousandths)
        #expect(Units.share(tenThousandths) == text)
    }

    @Test(arguments: [
        ("0.2", "has no % sign; did you mean 20%?"), ("1", "has no % sign; did you mean 100%?"), ("20", "has no % sign"),
        ("0.001%", "is finer than 0.01%"),
        ("20 %", "has the unknown unit \" %\""), ("%", "is no share"), ("20%%", "has the unknown unit \"%%\""),
    ])
    func noShares(text: String, problem: String) {
        let error = #expect(throws: ScalarProblem.self) { try Units.tenThousandths(text) }
        #expect(error?.problem == problem)
    }

    @Test(arguments: [
        ("adress", "address"), ("listner", "listeners"), ("timeout", "timeouts"), ("per-try", "per_try"), ("ADDRESS", "address"),
        ("zzz", nil), ("", nil),
        ("addressaddressaddress", nil),
    ])
    func nearestNames(written: String, nearest: String?) {
        #expect(nearestName(to: written, among: ["listeners", "address", "timeouts", "per_try"]) == nearest)
    }
}
