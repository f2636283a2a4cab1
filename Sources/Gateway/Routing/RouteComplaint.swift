// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What is wrong with one field of one route, for the configuration's author. All complaints of a table come at once.
package struct RouteComplaint: Error, Equatable, Sendable {
    package enum Field: String, Sendable { case host, path, methods, headers, query, rewrite, redirect, weights }

    /// Position of the rule among the rules given.
    package var rule: Int
    package var field: Field
    /// What is wrong and what would be right, in words.
    package var message: String

    package init(rule: Int, field: Field, message: String) {
        self.rule = rule
        self.field = field
        self.message = message
    }
}

/// The complaints about all rules, in the rules' order.
package struct RouteComplaints: Error, Equatable, Sendable {
    package var complaints: [RouteComplaint]
}

/// What is wrong with a pattern or a template by itself.
package struct PatternError: Error, Equatable, Sendable {
    package var message: String
}
