// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// Turns rules into a `RouteTable`'s arrays. Runs when a configuration is loaded, so it may take its time.
struct RouteTableCompiler {
    private(set) var nodes: [RouteTable.Node] = []
    private(set) var edges: [RouteTable.Edge] = []
    private(set) var hosts: [RouteTable.Host] = []
    private(set) var hostEntries: [RouteTable.HostEntry] = []
    private(set) var hasWildcards = false
    private(set) var candidates: [Int32] = []
    private(set) var routes: [RouteTable.Route] = []
    private(set) var conditions: [RouteTable.CompiledCondition] = []
    private(set) var text: [UInt8] = []
    private(set) var extensionMethods: [[UInt8]] = []
    private(set) var parameterNames: [[String]] = []
    private(set) var shadowed: [(rule: Int, by: Int)] = []

    private struct EdgeKey: Hashable {
        var parent: Int32
        /// nil is a parameter.
        var label: [UInt8]?
    }

    /// Rules that end at one node in one way.
    private struct Ending: Hashable {
        var node: Int32
        var isPrefix: Bool
    }

    private var children: [EdgeKey: Int32] = [:]
    /// The literal edges in the order of their making, so that the table never depends on a dictionary's order.
    private var literals: [(parent: Int32, child: Int32, label: [UInt8])] = []
    private var hostPatterns: [HostPattern] = [.any]
    private var hostPositions: [HostPattern: Int] = [.any: 0]
    private var rulesByEnding: [Ending: [Int]] = [:]
    private var endings: [Ending] = []
    private var complaints: [RouteComplaint] = []

    static func compile(_ rules: [RouteTable.Rule]) throws(RouteComplaints) -> RouteTableCompiler {
        var compiler = RouteTableCompiler()
        compiler.addHost()
        for i in rules.indices { compiler.add(rules[i], at: i) }
        if !compiler.complaints.isEmpty { throw RouteComplaints(complaints: compiler.complaints) }
        compiler.orderCandidates(rules)
        compiler.layOutEdges()
        compiler.layOutHosts()
        return compiler
    }

    // MARK: One rule

    private mutating func add(_ rule: RouteTable.Rule, at index: Int) {
        var route = RouteTable.Route()
        route.methods = methods(of: rule, at: index)
        route.conditions = addConditions(of: rule, at: index)
        route.allowsEncodedSlash = rule.allowsEncodedSlash
        let pattern = pathPattern(of: rule, at: index)
        let host = hostPattern(of: rule, at: index)
        let names = pattern?.parameterNames ?? []
        route.parameterCount = Int32(names.count)
        if let pattern, let host { add(pattern, to: host, rule: index) }
        parameterNames.append(names)
        routes.append(route)
    }

    private mutating func pathPattern(of rule: RouteTable.Rule, at index: Int) -> PathPattern? {
        do {
            let pattern = try PathPattern(rule.path)
            if pattern.hasEncodedSlash && !rule.allowsEncodedSlash {
                complain(index, .path, "the path has an encoded slash, which the route does not allow")
            }
            return pattern
        } catch {
            complain(index, .path, error.message)
            return nil
        }
    }

    private mutating func hostPattern(of rule: RouteTable.Rule, at index: Int) -> HostPattern? {
        do {
            return try HostPattern(rule.host)
        } catch {
            complain(index, .host, error.message)
            return nil
        }
    }

    private mutating func add(_ pattern: PathPattern, to host: HostPattern, rule: Int) {
        var node: Int32
        if let known = hostPositions[host] {
            node = hosts[known].root
        } else {
            hostPositions[host] = hostPatterns.count
            hostPatterns.append(host)
            node = addHost()
        }
        for segment in pattern.segments {
            switch segment {
            case .literal(let label): node = child(of: node, label)
            case .parameter: node = child(of: node, nil)
            }
        }
        let ending = Ending(node: node, isPrefix: pattern.isPrefix)
        if rulesByEnding[ending] == nil { endings.append(ending) }
        rulesByEnding[ending, default: []].append(rule)
    }

    @discardableResult
    private mutating func addHost() -> Int32 {
        let root = Int32(nodes.count)
        nodes.append(RouteTable.Node())
        hosts.append(RouteTable.Host(root: root, next: -1))
        return root
    }

    private mutating func child(of parent: Int32, _ label: [UInt8]?) -> Int32 {
        let key = EdgeKey(parent: parent, label: label)
        if let known = children[key] { return known }
        let child = Int32(nodes.count)
        nodes.append(RouteTable.Node())
        children[key] = child
        if let label {
            nodes[Int(parent)].hasLiteralChildren = true
            literals.append((parent, child, label))
        } else {
            nodes[Int(parent)].parameterChild = child
        }
        return child
    }

    private mutating func methods(of rule: RouteTable.Rule, at index: Int) -> MethodSet {
        if rule.methods.isEmpty { return .all }
        var set = MethodSet.none
        for name in rule.methods {
            let bytes = Array(name.utf8)
            guard !bytes.isEmpty, bytes.allSatisfy({ $0.isTokenCharacter }) else {
                complain(index, .methods, "“\(name)” is not a method")
                continue
            }
            let method = Method.recognise(bytes.span)
            if method != .other {
                set.bits |= 1 << UInt64(method.rawValue)
                if method == .get { set.bits |= 1 << UInt64(Method.head.rawValue) }
            } else if let known = extensionMethods.firstIndex(of: bytes) {
                set.bits |= 1 << (MethodSet.firstExtension + UInt64(known))
            } else if isUsualMethod(name.uppercased()) {
                complain(index, .methods, "“\(name)”: methods are case-sensitive, write “\(name.uppercased())”")
            } else if extensionMethods.count == MethodSet.maximumExtensions {
                complain(index, .methods, "more than \(MethodSet.maximumExtensions) methods beyond the usual ones")
            } else {
                set.bits |= 1 << (MethodSet.firstExtension + UInt64(extensionMethods.count))
                extensionMethods.append(bytes)
            }
        }
        return set
    }

    private func isUsualMethod(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return Method.recognise(bytes.span) != .other
    }

    private mutating func addConditions(of rule: RouteTable.Rule, at index: Int) -> Range32 {
        let start = conditions.count
        for header in rule.headers {
            let name = header.name.utf8.map(\.asciiLowercased)
            if name.isEmpty || !name.allSatisfy({ $0.isTokenCharacter }) {
                complain(index, .headers, "“\(header.name)” is not the name of a header")
                continue
            }
            if name.elementsEqual("host".utf8) {
                complain(index, .headers, "the host is matched by the route's host")
                continue
            }
            if let value = header.value, !isFieldValue(value) {
                complain(index, .headers, "the value of “\(header.name)” cannot be a header's value")
                continue
            }
            conditions.append(
                RouteTable.CompiledCondition(
                    known: FieldName.recognise(lowercased: name.span), name: store(name), value: store(header.value),
                    hasValue: header.value != nil))
        }
        for parameter in rule.query {
            if parameter.name.isEmpty { complain(index, .query, "a query parameter has a name") }
            conditions.append(
                RouteTable.CompiledCondition(
                    isQuery: true, name: store(Array(parameter.name.utf8)), value: store(parameter.value),
                    hasValue: parameter.value != nil))
        }
        return Range32(start: start, count: conditions.count - start)
    }

    private func isFieldValue(_ value: String) -> Bool {
        let bytes = Array(value.utf8)
        if let first = bytes.first, first.isFieldSpace { return false }
        if let last = bytes.last, last.isFieldSpace { return false }
        return bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }

    private mutating func store(_ bytes: [UInt8]) -> Range32 {
        let start = text.count
        text += bytes
        return Range32(start: start, count: bytes.count)
    }

    private mutating func store(_ value: String?) -> Range32 { store(Array((value ?? "").utf8)) }

    private mutating func complain(_ rule: Int, _ field: RouteComplaint.Field, _ message: String) {
        complaints.append(RouteComplaint(rule: rule, field: field, message: message))
    }

    // MARK: Laying out

    private mutating func orderCandidates(_ rules: [RouteTable.Rule]) {
        func conditionCount(_ rule: Int) -> Int {
            (rules[rule].methods.isEmpty ? 0 : 1) + rules[rule].headers.count + rules[rule].query.count
        }
        for ending in endings {
            let ordered = (rulesByEnding[ending] ?? []).sorted {
                (-conditionCount($0), $0) < (-conditionCount($1), $1)
            }
            let range = Range32(start: candidates.count, count: ordered.count)
            candidates += ordered.map { Int32($0) }
            if ending.isPrefix {
                nodes[Int(ending.node)].prefix = range
            } else {
                nodes[Int(ending.node)].whole = range
            }
            noteShadowed(ordered, rules)
        }
    }

    /// Among rules with one host and path only what asks for the same again, or for less of the methods, is surely dead.
    private mutating func noteShadowed(_ ordered: [Int], _ rules: [RouteTable.Rule]) {
        var seen: [String: [Int]] = [:]
        for rule in ordered {
            let tests =
                (rules[rule].headers.map { "h\($0.name.lowercased())\u{0}\($0.value ?? "\u{1}")" }
                + rules[rule].query.map { "q\($0.name)\u{0}\($0.value ?? "\u{1}")" }).sorted().joined(separator: "\u{2}")
            let methods = routes[rule].methods.bits
            if let by = seen[tests]?.first(where: { routes[$0].methods.bits & methods == methods }) {
                shadowed.append((rule, by))
            } else {
                seen[tests, default: []].append(rule)
            }
        }
    }

    private mutating func layOutEdges() {
        edges = Array(repeating: RouteTable.Edge(), count: RouteTableCompiler.tableSize(for: literals.count))
        let mask = edges.count - 1
        for literal in literals {
            let hash = RouteHash.segment(literal.label.span, from: 0, limit: literal.label.count).hash
            var place = Int(truncatingIfNeeded: RouteHash.place(hash, parent: literal.parent)) & mask
            while edges[place].parent >= 0 { place = (place + 1) & mask }
            edges[place] = RouteTable.Edge(
                hash: hash, parent: literal.parent, child: literal.child, label: store(literal.label))
        }
    }

    private mutating func layOutHosts() {
        hostEntries = Array(
            repeating: RouteTable.HostEntry(), count: RouteTableCompiler.tableSize(for: hostPatterns.count))
        for i in hostPatterns.indices {
            switch hostPatterns[i] {
            case .any: break
            case .exact(let name): place(host: i, name, RouteHash.host(name.span), isWildcard: false)
            case .below(let name):
                place(host: i, name, name.reversed().reduce(RouteHash.seed, RouteHash.backwards), isWildcard: true)
            }
        }
    }

    private mutating func place(host: Int, _ name: [UInt8], _ hash: UInt64, isWildcard: Bool) {
        let mask = hostEntries.count - 1
        var place = Int(truncatingIfNeeded: hash) & mask
        while hostEntries[place].host >= 0 { place = (place + 1) & mask }
        hostEntries[place] = RouteTable.HostEntry(
            hash: hash, host: Int32(host), isWildcard: isWildcard, label: store(name))
        hosts[host].next = Int32(nextWorse(name))
        if isWildcard { hasWildcards = true }
    }

    /// The host with the longest wildcard above `name`, or the default.
    private func nextWorse(_ name: [UInt8]) -> Int {
        var rest = name[...]
        while let dot = rest.firstIndex(of: RequestPath.dot) {
            rest = rest[(dot + 1)...]
            if let found = hostPositions[.below(Array(rest))] { return found }
        }
        return 0
    }

    /// A power of two that leaves at least half of the places free.
    private static func tableSize(for count: Int) -> Int {
        var size = 4
        while size < count * 2 + 1 { size *= 2 }
        return size
    }
}
