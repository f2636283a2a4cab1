// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension MeasuredBody {
    /// What one request pays its guard: four steps of one attempt that goes well, and a refusal by an open breaker.
    static func guarding() -> [MeasuredBody] {
        let healthy = Guard(draw: Draw(seed: 1))
        let open = Guard(draw: Draw(seed: 1))
        open.force(.forcedOpen, now: Instant(nanoseconds: 1))
        var clock: Int64 = 1
        return [
            MeasuredBody("Guard: admit, sent, head, report") { times in
                var admitted = 0
                for i in 0..<times {
                    clock += 1_000
                    let now = Instant(nanoseconds: clock)
                    switch healthy.admit(now: now, request: UInt64(i), isFirstAttempt: true) {
                    case .admitted(var permit):
                        permit.requestSent(now: now)
                        permit.headArrived(.success, now: now)
                        permit.report(.success, now: now)
                        admitted += 1
                    case .mustWait: break
                    case .refused: break
                    }
                }
                return admitted
            },
            MeasuredBody("Guard: refuse, breaker open") { times in
                var refused = 0
                for i in 0..<times {
                    switch open.admit(now: Instant(nanoseconds: 5), request: UInt64(i), isFirstAttempt: true) {
                    case .refused: refused += 1
                    case .admitted: break
                    case .mustWait: break
                    }
                }
                return refused
            },
        ]
    }
}
