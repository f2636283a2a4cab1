// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What a configuration names outside its own text.
public struct Surroundings: Sendable {
    /// Why a file cannot be read; `nil`: it can.
    public var fileProblem: @Sendable (_ path: String) -> String?
    /// Whether an environment variable is set.
    public var hasVariable: @Sendable (_ name: String) -> Bool

    public init(fileProblem: @escaping @Sendable (String) -> String?, hasVariable: @escaping @Sendable (String) -> Bool) {
        self.fileProblem = fileProblem
        self.hasVariable = hasVariable
    }

    /// This machine and this process.
    public static let system = Surroundings(
        fileProblem: { FileReading.problem(of: $0) },
        hasVariable: { unsafe getenv($0) != nil })

    /// Every file can be read and every variable is set: for a configuration that is written for another machine.
    public static let assumed = Surroundings(fileProblem: { _ in nil }, hasVariable: { _ in true })
}
