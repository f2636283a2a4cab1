// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Resilience
@testable import ResilienceStress
import Testing

/// The short version of `make stress`; `make test` also runs 10^5 interleavings with the release build.
@Suite(.serialized) struct StressTests {
    @Test func B2_K1_K2_K6_R3_R4_eightThreads() throws {
        var options = Options()
        options.operations = 100_000
        let report = try GuardStress.run(options)
        #expect(report.operations >= 100_000 && report.threads == 8)
        // It would be no check if nothing had happened.
        let counters = try #require(report.snapshot).counters
        #expect(counters.grantedFromQueue > 0 && counters.cancelledInQueue > 0 && report.waitersAtStandstill > 0)
        #expect(try #require(report.snapshot).transitions.halfOpened > 0 && counters.refusedRetryBudget > 0)
    }

    @Test func K1_K2_K6_theSeamInRandomInterleavings() throws {
        let report = try SeamCheck.run(interleavings: 20_000, seed: Options().seed)
        #expect(report.interleavings == 20_000 && report.handedOver > 0 && report.lateCancellations > 0 && report.refusals > 0)
    }

    @Test func oneSeedGivesOneRun() throws {
        let (first, second) = (try SeamCheck.run(interleavings: 500, seed: 7), try SeamCheck.run(interleavings: 500, seed: 7))
        #expect(first.steps == second.steps && first.handedOver == second.handedOver && first.refusals == second.refusals)
    }

    @Test func arguments() throws {
        let options = try Options(["--threads", "2", "--operations", "10", "--interleavings", "0", "--seed", "9"])
        #expect(options.threads == 2 && options.operations == 10 && options.interleavings == 0 && options.seed == 9)
        #expect(try Options(["--help"]).wantsHelp)
        for words in [["--threads"], ["--threads", "0"], ["--threads", "65"], ["--operations", "-1"], ["--frequency", "1"]] {
            #expect(throws: Options.Complaint.self, "\(words)") { try Options(words) }
        }
    }
}
