// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// How one attempt ended (semantics, section 0.1): every attempt ends in exactly one outcome.
public struct Outcome: Equatable, Sendable {
    public enum Class: UInt8, CaseIterable, Sendable {
        /// The upstream did its work.
        case success
        /// Evidence against the upstream.
        case failure
        /// The upstream asked for less load: no evidence for the breaker.
        case backpressure
        /// Says nothing about the upstream.
        case neutral
        /// Refused or failed inside the gateway: never evidence.
        case local
    }

    /// Could the upstream application have seen the request?
    public enum Processed: UInt8, CaseIterable, Sendable { case no, maybe, yes }

    public var outcomeClass: Class
    /// `nil` for success.
    public var reason: Reason?
    public var processed: Processed

    public init(_ outcomeClass: Class, reason: Reason?, processed: Processed) {
        self.outcomeClass = outcomeClass
        self.reason = reason
        self.processed = processed
    }

    public static let success = Outcome(.success, reason: nil, processed: .yes)
}
