// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The scripts in `Support/`: clients and backends that share no code with the gateway. Each says what is not so, and counts.
@Suite(.serialized) struct ScriptTests {
    @Test(arguments: [
        "cases.py", "dns.py", "filters.py", "filters_auth.py", "filters_cache.py", "operations.py", "protocols.py", "storm.py",
    ])
    func script(name: String) throws { try passes(name) }

    @Test func K4_P12_anUpstreamThatHangsDoesNotTakeTheOtherWithIt() throws { try passes("isolation.py") }

    @Test func P10_P13_limitsHoldAcrossReactors() throws { try passes("limits.py") }

    @Test func P22_itShedsBeforeItRunsOutOfDescriptorsOrMemory() throws { try passes("overload.py") }

    @Test func P11_oneOfFourEndpointsIsKilled() throws { try passes("dying.py") }

    @Test func E24_oneDocumentOfSeveralServices() throws { try passes("filters_aggregate.py") }

    @Test func E25_bodiesAreMadeAnewOrRefused() throws { try passes("filters_transform.py") }
    @Test func E14_P27_rateLimitsAreSharedExactly() throws { try passes("filters_rate_limit.py") }

    private func passes(_ name: String) throws {
        _ = try binary()
        let support = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Support").path
        let result = try run("/usr/bin/timeout", ["600", "/usr/bin/python3", "\(support)/\(name)"])
        #expect(result.status == 0, "\(name):\n\(result.output.suffix(4_000))\n\(result.errors.suffix(2_000))")
        #expect(result.output.contains(" passed, 0 failed"))
    }
}
