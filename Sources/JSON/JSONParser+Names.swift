// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Members of one name in one object: two parsers may take different ones, which is how a signature is made to cover what nobody reads.
extension JSONParser {
    /// Finds members of one name in the object that has just ended, and does with them as the limits say. Names are compared as
    /// what they mean, so that `"a"` and `"\u0061"` are one. The time is proportional to the object, whoever chose the names:
    /// the standard library's hash has a secret of its own.
    mutating func settleDuplicates(in object: Int, count: Int) throws(JSONError) {
        if count <= 8 {
            try compareEach(in: object)
        } else {
            try compareByHash(in: object, count: count)
        }
    }

    private mutating func compareEach(in object: Int) throws(JSONError) {
        let end = Int(nodes[object].next)
        var later = object &+ 1
        while later < end {
            var earlier = object &+ 1
            while earlier < later {
                if isSameName(earlier, later) {
                    try shadow(earlier, by: later, in: object)
                }
                earlier = Int(nodes[earlier &+ 1].next)
            }
            later = Int(nodes[later &+ 1].next)
        }
    }

    private mutating func compareByHash(in object: Int, count: Int) throws(JSONError) {
        var seen: [[UInt8]: Int] = [:]
        seen.reserveCapacity(count)
        let end = Int(nodes[object].next)
        var name = object &+ 1
        while name < end {
            let meaning = bytes(of: name)
            if let earlier = seen[meaning] {
                try shadow(earlier, by: name, in: object)
                if limits.duplicates == .lastWins { seen[meaning] = name }
            } else {
                seen[meaning] = name
            }
            name = Int(nodes[name &+ 1].next)
        }
    }

    private mutating func shadow(_ earlier: Int, by later: Int, in object: Int) throws(JSONError) {
        let loser: Int
        switch limits.duplicates {
        case .refuse: throw JSONError(.duplicateName, at: Int(nodes[later].start))
        case .firstWins: loser = later
        case .lastWins: loser = earlier
        }
        guard !nodes[loser].isShadowed else { return }
        nodes[loser].packed |= JSONDocument.Node.shadowed
        nodes[object].packed &-= 1 << 5
        hasShadows = true
    }

    private func isSameName(_ one: Int, _ other: Int) -> Bool {
        if !nodes[one].isEscaped && !nodes[other].isEscaped {
            guard nodes[one].length == nodes[other].length else { return false }
            let length = Int(nodes[one].length)
            let (first, second) = (Int(nodes[one].start), Int(nodes[other].start))
            for i in 0..<length where text[first &+ i] != text[second &+ i] { return false }
            return true
        }
        return bytes(of: one) == bytes(of: other)
    }

    private func bytes(of name: Int) -> [UInt8] {
        let node = nodes[name]
        let contents = Int(node.start) &+ 1..<Int(node.start) &+ Int(node.length) &- 1
        if !node.isEscaped { return Array(text[contents]) }
        var result: [UInt8] = []
        text.span.extracting(contents).unescape { result.append($0) }
        return result
    }
}
