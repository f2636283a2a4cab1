// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// One piece of the hot path, set up and ready to be run many times.
///
/// `benchmarks/` is a package of its own, so that its dependencies stay out of the product's build, and it sees products only; so what it
/// measures is here. Nothing of the gateway uses this module.
public struct MeasuredBody {
    /// What is measured, in words: a baseline's key.
    public let name: String
    /// Whether once takes tens of microseconds or more.
    public let isLong: Bool
    /// Does it so many times. The result depends on all of the work, so that none of it is optimised away.
    public let run: (_ times: Int) -> Int

    init(_ name: String, isLong: Bool = false, _ run: @escaping (Int) -> Int) {
        self.name = name
        self.isLong = isLong
        self.run = run
    }

    /// All there are. Throws only if our own settings are wrong.
    public static func all() throws -> [MeasuredBody] {
        try messages() + routing() + records() + guarding() + exchanging() + caching()
    }
}
