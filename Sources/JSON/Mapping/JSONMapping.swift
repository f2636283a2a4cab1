// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How one JSON object is made into another: which member of the result comes from where. Declared, checked when it is made, and then
/// applied to any number of documents.
///
///     ORDER_NO       from  id
///     CUST.NAME      from  customer.name, else "unknown"
///     CURRENCY       is    "EUR"
///     LINES          each  items:   SKU from product.id
///
/// A target is a path of names; targets that begin alike make one object. Members of the source that nothing is taken from are left out, or
/// kept where they are (`keepsUnknown`). A source that is missing leaves its target out, unless there is a value in its place or it is needed.
package struct JSONMapping: Sendable, Equatable {
    /// Where one member's value comes from.
    package indirect enum Source: Sendable, Equatable {
        /// JSON text of the configuration's.
        case constant([UInt8])
        case value(JSONPath, Use)
        /// The object at the path, made into another.
        case object(JSONPath, JSONMapping, Use)
        /// Each element of the array at the path: the value at a path in it.
        case eachValue(JSONPath, of: JSONPath, Use)
        /// Each element of the array at the path, an object that is made into another.
        case eachObject(JSONPath, JSONMapping, Use)

        var path: JSONPath? {
            switch self {
            case .constant: nil
            case .value(let path, _), .object(let path, _, _), .eachValue(let path, _, _), .eachObject(let path, _, _): path
            }
        }
    }

    /// What is done with a source's value, and without it.
    package struct Use: Sendable, Equatable {
        /// JSON text that stands in for a value that is missing.
        package var fallback: [UInt8]?
        /// Whether a missing value makes the whole document unusable.
        package var isRequired = false
        /// Whether `null` is as good as missing.
        package var takesNullForMissing = false
        package var conversion: Conversion?

        package init() {}
    }

    /// The type that a value is written as.
    package enum Conversion: String, Sendable, Equatable, CaseIterable {
        /// A number or a truth value in quotes, as it was written.
        case string
        /// A string that is a number, without its quotes.
        case number
        /// The same, and an integer of 64 bits.
        case integer
        /// The strings `true` and `false`.
        case boolean
    }

    /// Why targets do not go together.
    package struct Conflict: Error, Sendable, Equatable, CustomStringConvertible {
        /// Which of the rules, in their order.
        package var rule: Int
        package var description: String
    }

    let targets: TargetTree
    let removals: RemovalTree
    package let keepsUnknown: Bool

    /// - Parameter drops: what is not kept of what is unknown.
    package init(
        _ rules: [(target: JSONPath, source: Source)], keepsUnknown: Bool = false, drops: [JSONPath] = []
    ) throws(Conflict) {
        var targets = TargetTree()
        var removals = RemovalTree()
        for (i, rule) in rules.enumerated() {
            var names: [[UInt8]] = []
            for step in rule.target.steps {
                guard case .name(let name) = step else {
                    throw Conflict(rule: i, description: "a target has names only; a list is made with each")
                }
                names.append(name)
            }
            guard !names.isEmpty else { throw Conflict(rule: i, description: "a target has at least one name") }
            guard targets.insert(rule.source, at: names[...]) else {
                throw Conflict(rule: i, description: "another target is the same, a part of this one, or has this one as a part")
            }
            if keepsUnknown, let path = rule.source.path { removals.insert(path.steps[...]) }
        }
        for drop in drops { removals.insert(drop.steps[...]) }
        self.targets = targets
        self.removals = removals
        self.keepsUnknown = keepsUnknown
    }

    /// The members of one object that is written, by name, in the order of the rules.
    struct TargetTree: Sendable, Equatable {
        enum Node: Sendable, Equatable {
            case leaf(Source)
            case below(TargetTree)
        }

        var members: [(name: [UInt8], node: Node)] = []

        static func == (a: TargetTree, b: TargetTree) -> Bool {
            a.members.count == b.members.count && zip(a.members, b.members).allSatisfy { $0.name == $1.name && $0.node == $1.node }
        }

        /// False: something else is there.
        mutating func insert(_ source: Source, at names: ArraySlice<[UInt8]>) -> Bool {
            guard let name = names.first else { return false }
            let rest = names.dropFirst()
            guard let i = members.firstIndex(where: { $0.name == name }) else {
                if rest.isEmpty {
                    members.append((name, .leaf(source)))
                    return true
                }
                var below = TargetTree()
                let isInserted = below.insert(source, at: rest)
                members.append((name, .below(below)))
                return isInserted
            }
            guard !rest.isEmpty, case .below(var below) = members[i].node else { return false }
            let isInserted = below.insert(source, at: rest)
            members[i].node = .below(below)
            return isInserted
        }

        func node(named name: JSONValue) -> Node? { members.first { name.equals($0.name) }?.node }
    }

    /// What is taken out of an object of which the rest is kept.
    struct RemovalTree: Sendable, Equatable {
        struct Member: Sendable, Equatable {
            var name: [UInt8]
            /// `nil`: all of it.
            var below: RemovalTree?
        }

        var members: [Member] = []
        var isEmpty: Bool { members.isEmpty }

        /// A path with positions takes nothing out: an array is kept or mapped as a whole.
        mutating func insert(_ steps: ArraySlice<JSONPath.Step>) {
            guard case .name(let name)? = steps.first else { return }
            let rest = steps.dropFirst()
            let isWhole = rest.isEmpty
            guard isWhole || rest.allSatisfy({ if case .name = $0 { true } else { false } }) else { return }
            let i = members.firstIndex { $0.name == name } ?? members.count
            if i == members.count { members.append(Member(name: name, below: RemovalTree())) }
            if isWhole { members[i].below = nil } else { members[i].below?.insert(rest) }
        }

        func member(named name: JSONValue) -> Member? { members.first { name.equals($0.name) } }
    }
}
