// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import HTTP

/// Finds the route of a request: compiled once from rules, then immutable and shared by all reactors.
///
/// Of all rules that match, the best is taken, in this order:
/// 1. host: exact, then the wildcard with the longest suffix, then none;
/// 2. path: one that covers the whole path before one that ends in `/*`. Of two that cover it, the one with literal text in
///    the first segment in which they differ (`/users/me` before `/users/{id}`). Of two prefixes the longer one, then
///    likewise;
/// 3. more conditions (methods count as one, each header and query parameter as one);
/// 4. the order of the file.
/// A rule that fails on its conditions or its method is not in the way of a worse one: the search goes on, over all hosts
/// that fit.
///
/// Each host has a trie of path segments. All edges of all tries are in one hash table, so a step costs one probe however
/// many routes there are; a search visits at most the nodes along the path, and where a parameter and a literal both fit, both
/// branches. Nothing is allocated.
package final class RouteTable: Sendable {
    /// The captured segments of a match, in the pattern's order.
    package typealias Captures = InlineArray<8, Slice>

    package struct Match: Sendable {
        /// Position of the rule among the rules given.
        package var route: Int
        package var captureCount: Int
        /// The first `captureCount` are the captured segments.
        package var captures: Captures
        /// What `*` stands for: the path from the slash behind the prefix on; empty if the path is the prefix itself or the
        /// pattern has no `*`.
        package var rest: Slice
        /// Trie nodes looked at: the cost of the search, the same on every machine.
        package var visited: Int
    }

    package enum Outcome: Sendable {
        case route(Match)
        /// 400 `request.target`: an encoded slash, and no route that allows it.
        case encodedSlashRefused
        /// 405 `request.method`: a rule fits but for the method. `writeAllow` names those that would do.
        case methodNotAllowed(allowed: MethodSet)
        /// 404 `route.none`.
        case none
    }

    struct Node {
        /// The child that any segment leads to; 0 is none (no child is the root of the first host).
        var parameterChild: Int32 = 0
        var hasLiteralChildren = false
        /// Candidates for a path that ends here, best first.
        var whole = Range32.empty
        /// Candidates for this path and all below it, best first.
        var prefix = Range32.empty
    }

    struct Edge {
        var hash: UInt64 = 0
        /// -1 is a free place.
        var parent: Int32 = -1
        var child: Int32 = 0
        var label = Range32.empty
    }

    struct Host {
        var root: Int32
        /// The next worse host that fits whatever this one fits; -1 behind the default.
        var next: Int32
    }

    struct HostEntry {
        var hash: UInt64 = 0
        /// -1 is a free place.
        var host: Int32 = -1
        var isWildcard = false
        var label = Range32.empty
    }

    struct Route {
        var methods = MethodSet.all
        var conditions = Range32.empty
        var parameterCount: Int32 = 0
        var allowsEncodedSlash = false
    }

    struct CompiledCondition {
        var isQuery = false
        var known = FieldName.other
        var name = Range32.empty
        var value = Range32.empty
        var hasValue = false
    }

    let nodes: [Node]
    /// Open addressing; the count is a power of two.
    let edges: [Edge]
    /// The first is the default.
    let hosts: [Host]
    /// Open addressing; the count is a power of two.
    let hostEntries: [HostEntry]
    let hasWildcards: Bool
    let candidates: [Int32]
    let routes: [Route]
    let conditions: [CompiledCondition]
    /// All labels, names and values.
    let text: [UInt8]
    /// Names of the methods that `Method` has no case for, in the order of their bits.
    let extensionMethods: [[UInt8]]

    /// The names of each rule's parameters, in the order of `Match.captures`.
    package let parameterNames: [[String]]
    /// Rules that can never be taken, each with the one that takes everything of it: for the linter.
    package let shadowed: [(rule: Int, by: Int)]

    package var count: Int { routes.count }

    /// Throws all complaints about all rules.
    package init(_ rules: [Rule]) throws(RouteComplaints) {
        let compiled = try RouteTableCompiler.compile(rules)
        nodes = compiled.nodes
        edges = compiled.edges
        hosts = compiled.hosts
        hostEntries = compiled.hostEntries
        hasWildcards = compiled.hasWildcards
        candidates = compiled.candidates
        routes = compiled.routes
        conditions = compiled.conditions
        text = compiled.text
        extensionMethods = compiled.extensionMethods
        parameterNames = compiled.parameterNames
        shadowed = compiled.shadowed
    }
}

/// A range in half the space.
struct Range32: Equatable, Sendable {
    var start: Int32
    var count: Int32

    static let empty = Range32(start: 0, count: 0)
    @inline(__always) var range: Range<Int> { Int(start)..<(Int(start) + Int(count)) }
    @inline(__always) var isEmpty: Bool { count == 0 }

    init(start: Int, count: Int) {
        self.start = Int32(start)
        self.count = Int32(count)
    }
}
