// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// The right to one extra attempt, from the moment it is scheduled to its end. Letting it go before `sent` refunds it.
public struct RetryToken: ~Copyable, Sendable {
    private let owner: Guard
    private let grant: RetryBudget.Grant
    private var wasSent = false
    private var isSettled = false

    init(_ owner: Guard, _ grant: RetryBudget.Grant) {
        self.owner = owner
        self.grant = grant
    }

    /// The extra attempt was handed to the network: from here on it is spent, however it ends.
    public mutating func sent() { wasSent = true }

    /// The extra attempt is over, and was sent.
    public consuming func finished(now: Instant) {
        isSettled = true
        owner.finishRetry(grant)
    }

    deinit {
        if isSettled { return }
        if wasSent { owner.finishRetry(grant) } else { owner.refundRetry(grant) }
    }
}
