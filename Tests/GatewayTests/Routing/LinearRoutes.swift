// Holdfast
// SPDX-License-Identifier: Apache-2.0

@testable import Gateway

/// The precedence of `RouteTable` written down a second time, as plainly as it goes: every rule is tried, all that fit are
/// compared. Works on text and shares nothing with the table.
struct LinearRoutes {
    let rules: [RouteTable.Rule]

    init(_ rules: [RouteTable.Rule]) { self.rules = rules }

    /// How good a fit is: compared left to right, larger is better.
    private struct Fit {
        var rank: [Int]
        var text: String
    }

    /// A request as in `RouteTableTests.head`; the answer as in `RouteTable.Outcome.text`.
    func find(_ line: String) -> String {
        let parts = line.split(separator: " ").map(String.init)
        let target = parts[2].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let query = target.count > 1 ? target[1].split(separator: "&").map(String.init) : []
        let headers = Array(parts.dropFirst(3))
        var best: Fit?
        var allowed: [String] = []
        for (index, rule) in rules.enumerated() {
            guard let host = hostRank(rule.host, parts[1]), let path = pathFit(rule.path, target[0]),
                rule.headers.allSatisfy({ holds($0, headers, ":") }), rule.query.allSatisfy({ holds($0, query, "=") })
            else { continue }
            let methods = rule.methods.contains("GET") ? rule.methods + ["HEAD"] : rule.methods
            if !methods.isEmpty && !methods.contains(parts[0]) {
                allowed += methods
                continue
            }
            let conditions = (rule.methods.isEmpty ? 0 : 1) + rule.headers.count + rule.query.count
            let rank = [host] + path.rank + [conditions, -index]
            if let known = best, !known.rank.lexicographicallyPrecedes(rank) { continue }
            best = Fit(rank: rank, text: "\(index)" + path.text)
        }
        if let best { return best.text }
        let named = ["GET", "HEAD", "POST", "PUT", "DELETE"].filter { allowed.contains($0) }
        return named.isEmpty ? "404" : "405 " + named.joined(separator: ", ")
    }

    private func hostRank(_ pattern: String?, _ host: String) -> Int? {
        guard let pattern else { return 0 }
        if pattern == host { return 1_000 }
        guard pattern.hasPrefix("*."), host.hasSuffix(pattern.dropFirst()) else { return nil }
        return pattern.count
    }

    private func holds(_ condition: RouteTable.Condition, _ pairs: [String], _ separator: Character) -> Bool {
        pairs.contains { pair in
            let parts = pair.split(separator: separator, maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            return parts[0] == condition.name && (condition.value == nil || condition.value == parts[1])
        }
    }

    /// Rank: whole or prefix, length of a prefix, then literal (1) or parameter (0) for each segment.
    private func pathFit(_ pattern: String, _ path: String) -> Fit? {
        var wanted = pattern.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        let given = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        let isPrefix = wanted.last == "*"
        if isPrefix { wanted.removeLast() }
        if isPrefix ? given.count < wanted.count : given.count != wanted.count { return nil }
        var rank = [isPrefix ? 0 : 1, isPrefix ? wanted.count : 0]
        var text = ""
        for (name, segment) in zip(wanted, given) {
            if name.hasPrefix("{") {
                if segment.isEmpty { return nil }
                text += " \(name.dropFirst().dropLast())=\(segment)"
                rank.append(0)
            } else {
                if name != segment { return nil }
                rank.append(1)
            }
        }
        // Shorter lists must not decide: fill up, so that what follows is compared in its own place.
        while rank.count < 16 { rank.append(0) }
        let rest = given.dropFirst(wanted.count).map { "/" + $0 }.joined()
        return Fit(rank: rank, text: text + (isPrefix && !rest.isEmpty ? " *=\(rest)" : ""))
    }
}

/// Rules and requests from so few words that they meet often.
enum RandomRoutes {
    static func rule(_ random: inout SeededGenerator) -> RouteTable.Rule {
        var rule = RouteTable.Rule()
        rule.host = ["a.example", "b.a.example", "*.example", "*.a.example", nil, nil].randomElement(using: &random) ?? nil
        var path = ""
        var parameters = 0
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            var segment = ["a", "b", "users", "{"].randomElement(using: &random) ?? "a"
            if segment == "{" {
                parameters += 1
                segment = "{p\(parameters)}"
            }
            path += "/" + segment
        }
        rule.path = path + (["/*", "", "/"].randomElement(using: &random) ?? "")
        if rule.path.isEmpty { rule.path = "/" }
        if Bool.random(using: &random) {
            rule.methods = [["GET"], ["POST", "PUT"], ["DELETE"]].randomElement(using: &random) ?? []
        }
        if Int.random(in: 0..<4, using: &random) == 0 {
            rule.headers = [.init(name: "x-one", value: [nil, "1"].randomElement(using: &random) ?? nil)]
        }
        if Int.random(in: 0..<4, using: &random) == 0 {
            rule.query = [.init(name: "q", value: [nil, "1"].randomElement(using: &random) ?? nil)]
        }
        return rule
    }

    static func request(_ random: inout SeededGenerator) -> String {
        let method = ["GET", "HEAD", "POST", "DELETE", "PATCH"].randomElement(using: &random) ?? "GET"
        let host = ["a.example", "b.a.example", "c.b.a.example", "z.example", "other"].randomElement(using: &random) ?? ""
        var path = ""
        for _ in 0..<Int.random(in: 0...5, using: &random) {
            path += "/" + (["a", "b", "users", "zz"].randomElement(using: &random) ?? "a")
        }
        if path.isEmpty || Int.random(in: 0..<6, using: &random) == 0 { path += "/" }
        let query = ["", "?q=1", "?q=2&r", "?x"].randomElement(using: &random) ?? ""
        let header = ["", " x-one:1", " x-one:2", ""].randomElement(using: &random) ?? ""
        return "\(method) \(host) \(path)\(query)\(header)"
    }
}
