// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// One thing that is wrong, or that will not hold, and where.
public struct Complaint: Error, Equatable, Sendable, CustomStringConvertible {
    /// As it was given to `load` or `parse`.
    public var file: String
    /// `nil` when the file as a whole is meant.
    public var position: Position?
    /// What is wrong, and what was expected.
    public var message: String

    /// `file:line:column: message`, as compilers write it, so that editors jump there.
    public var description: String {
        guard let position else { return "\(file): \(message)" }
        return "\(file):\(position.line):\(position.column): \(message)"
    }
}

/// A place in a text file; both count from 1, the column in Unicode scalars.
public struct Position: Comparable, Hashable, Sendable {
    public var line: Int
    public var column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public static func < (left: Position, right: Position) -> Bool { (left.line, left.column) < (right.line, right.column) }
}

/// All that is wrong with a configuration, in the order of the file.
public struct ConfigurationErrors: Error, Equatable, Sendable, CustomStringConvertible {
    public let complaints: [Complaint]

    init(_ complaints: [Complaint]) { self.complaints = complaints.inOrder }

    /// One complaint a line.
    public var description: String { complaints.map(\.description).joined(separator: "\n") }
}

extension [Complaint] {
    /// By position; those at one place stay in the order in which they were made.
    var inOrder: [Complaint] {
        let origin = Position(line: 0, column: 0)
        return enumerated().sorted { ($0.element.position ?? origin, $0.offset) < ($1.element.position ?? origin, $1.offset) }.map(
            \.element)
    }
}
