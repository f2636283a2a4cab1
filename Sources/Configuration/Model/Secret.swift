// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Where a secret is to be found; the secret itself is never in a configuration, a log or a description.
public struct Secret: Equatable, Hashable, Sendable, CustomStringConvertible {
    public enum Source: Equatable, Hashable, Sendable {
        /// A path, a relative one resolved against the configuration's folder.
        case file(String)
        /// The name of an environment variable.
        case environment(String)
    }

    public var source: Source

    public init(_ source: Source) { self.source = source }

    /// Says where the secret is, not what it is.
    public var description: String {
        switch source {
        case .file(let path): "file \(path)"
        case .environment(let name): "environment variable \(name)"
        }
    }
}
