// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import Telemetry

/// Runs `body` on `count` threads at once, each with its number, and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let done = Semaphore()
    for i in 0..<count {
        Thread.detachNewThread {
            body(i)
            done.post()
        }
    }
    for _ in 0..<count { done.wait() }
}
