// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What a document may cost before it is refused: whoever sends one chooses its size, its depth and its number of values.
package struct JSONLimits: Sendable, Equatable {
    /// Length of the text. Default 1 MiB, at most 256 MiB.
    package var bytes = 1_048_576
    /// Arrays and objects within each other. Default 64, enough for any record and too little to build a ladder of.
    package var depth = 64
    /// Values and member names; each takes 16 bytes beside the text. Default 262,144 (4 MiB).
    package var nodes = 262_144
    package var duplicates = DuplicateNames.refuse

    /// What becomes of an object with two members of one name, about which RFC 8259 §4 leaves parsers to differ.
    package enum DuplicateNames: Sendable, Equatable {
        /// The document is refused. Whatever decides about rights (tokens, keys) takes this.
        case refuse
        case firstWins
        case lastWins
    }

    package init() {}

    package init(bytes: Int = 1_048_576, depth: Int = 64, nodes: Int = 262_144, duplicates: DuplicateNames = .refuse) {
        self.bytes = bytes
        self.depth = depth
        self.nodes = nodes
        self.duplicates = duplicates
    }

    /// Offsets in a document are 32 bits wide, and lengths leave some of those for the kind.
    static let greatestBytes = 1 << 28
}
