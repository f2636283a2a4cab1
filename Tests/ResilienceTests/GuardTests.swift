// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

@Test func admitsAndGivesBack() {
    let guardian = Guard(draw: Draw(seed: 1))
    let now = Instant(nanoseconds: 1)
    switch guardian.admit(now: now, request: 1, isFirstAttempt: true) {
    case .admitted(var permit):
        #expect(guardian.snapshot().permitsInUse == 1)
        permit.requestSent(now: now)
        permit.headArrived(.success, now: now)
        permit.report(.success, now: now)
    case .mustWait: Issue.record("not admitted")
    case .refused: Issue.record("refused")
    }
    #expect(guardian.snapshot().permitsInUse == 0)
    let evidence = guardian.snapshot().evidence
    #expect(evidence == BreakerEvidence(completed: 1, failed: 0, headsKnown: 1, slow: 0))
}
