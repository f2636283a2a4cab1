// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

extension RouteTable {
    /// The route of a request whose path is normal (`RequestPath.normalise`). `hasEncodedSlash` is what that said.
    package func match(_ head: RequestHead, hasEncodedSlash: Bool = false) -> Outcome {
        let parts = head.parts
        let path = parts.path.bounds
        var search = Search()
        let route = head.reading { bytes in
            search.method = methodSet(of: parts, in: bytes)
            return find(head, bytes, path: path, authority: parts.authority.bounds, search: &search)
        }
        if route < 0 {
            if hasEncodedSlash { return .encodedSlashRefused }
            return search.allowed.isEmpty ? .none : .methodNotAllowed(allowed: search.allowed)
        }
        let compiled = routes[Int(route)]
        if hasEncodedSlash && !compiled.allowsEncodedSlash { return .encodedSlashRefused }
        let isPrefix = route == search.prefixRoute
        return .route(
            Match(
                route: Int(route), captureCount: Int(compiled.parameterCount),
                captures: isPrefix ? search.prefixCaptures : search.captures,
                rest: Slice(offset: search.prefixEnd, length: isPrefix ? path.upperBound - search.prefixEnd : 0),
                visited: search.visited))
    }

    /// The best route over all hosts that fit, or -1.
    private func find(
        _ head: RequestHead, _ bytes: Span<UInt8>, path: Range<Int>, authority: Range<Int>, search: inout Search
    ) -> Int32 {
        // `*` (OPTIONS) has no slash: it is the root, where only `/*` fits.
        let hasSlash = !path.isEmpty && bytes[path.lowerBound] == RequestPath.slash
        let start = hasSlash ? path.lowerBound : path.upperBound
        var host = hosts.count == 1 ? 0 : bestHost(of: bytes.extracting(authority))
        while host >= 0 {
            let found = descend(
                from: hosts[Int(host)].root, at: start, end: path.upperBound, depth: 0, captured: 0,
                bytes: bytes, head: head, search: &search)
            if found >= 0 { return found }
            if search.prefixRoute >= 0 { return search.prefixRoute }
            host = hosts[Int(host)].next
        }
        return -1
    }

    struct Search: ~Copyable {
        /// The request's method alone.
        var method = MethodSet.none
        var captures = Captures(repeating: .empty)
        /// The best prefix so far; -1 is none.
        var prefixRoute: Int32 = -1
        var prefixDepth = -1
        /// Where the rest begins.
        var prefixEnd = 0
        var prefixCaptures = Captures(repeating: .empty)
        /// Methods of rules that fit but for the method.
        var allowed = MethodSet.none
        var visited = 0
    }

    /// Walks down from a node: the best route that covers the whole path, or -1; prefixes passed on the way are noted in
    /// `search`. `at` is the slash before the next segment, or `end`.
    private func descend(
        from start: Int32, at position: Int, end: Int, depth startDepth: Int, captured startCaptured: Int,
        bytes: Span<UInt8>, head: RequestHead, search: inout Search
    ) -> Int32 {
        var node = start
        var at = position
        var depth = startDepth
        var captured = startCaptured
        while true {
            let here = nodes[Int(node)]
            search.visited += 1
            if !here.prefix.isEmpty && depth > search.prefixDepth {
                let route = firstFitting(here.prefix, head, &search)
                if route >= 0 {
                    search.prefixRoute = route
                    search.prefixDepth = depth
                    search.prefixEnd = at
                    if captured > 0 { search.prefixCaptures = search.captures }
                }
            }
            if at == end { return here.whole.isEmpty ? -1 : firstFitting(here.whole, head, &search) }
            if !here.hasLiteralChildren && here.parameterChild == 0 { return -1 }
            let (stop, hash) = RouteHash.segment(bytes, from: at + 1, limit: end)
            let literal = here.hasLiteralChildren ? child(of: node, hash, bytes, (at + 1)..<stop) : -1
            let parameter = stop == at + 1 ? 0 : here.parameterChild
            if literal > 0 && parameter > 0 {
                let found = descend(
                    from: literal, at: stop, end: end, depth: depth + 1, captured: captured,
                    bytes: bytes, head: head, search: &search)
                if found >= 0 { return found }
            }
            if literal > 0 && parameter == 0 {
                node = literal
            } else if parameter > 0 {
                search.captures[captured] = Slice(offset: at + 1, length: stop - at - 1)
                captured += 1
                node = parameter
            } else {
                return -1
            }
            at = stop
            depth += 1
        }
    }

    /// The node that these bytes lead to from `parent`, or -1.
    @inline(__always)
    private func child(of parent: Int32, _ hash: UInt64, _ bytes: Span<UInt8>, _ label: Range<Int>) -> Int32 {
        let mask = edges.count - 1
        var place = Int(truncatingIfNeeded: RouteHash.place(hash, parent: parent)) & mask
        while true {
            let edge = edges[place]
            if edge.parent < 0 { return -1 }
            if edge.hash == hash && edge.parent == parent && equals(bytes, label, edge.label) { return edge.child }
            place = (place + 1) & mask
        }
    }

    /// Whether these bytes are exactly that piece of the table's text.
    @inline(__always)
    func equals(_ bytes: Span<UInt8>, _ range: Range<Int>, _ wanted: Range32) -> Bool {
        if range.count != Int(wanted.count) { return false }
        let offset = Int(wanted.start) - range.lowerBound
        for i in range where bytes[i] != text[i + offset] { return false }
        return true
    }

    // MARK: Hosts

    /// The best host that fits; the others follow by `next`.
    private func bestHost(of authority: Span<UInt8>) -> Int32 {
        let name = authority.extracting(HostPattern.name(in: authority))
        if name.count > HostPattern.maximumLength { return 0 }
        let exact = host(name, RouteHash.host(name), isWildcard: false)
        if exact > 0 { return exact }
        return hasWildcards ? longestWildcard(for: name) : 0
    }

    private func longestWildcard(for name: Span<UInt8>) -> Int32 {
        var best: Int32 = 0
        var hash = RouteHash.seed
        var i = name.count
        while i > 1 {
            i -= 1
            if name[i] == RequestPath.dot {
                let found = host(name.extracting((i + 1)..<name.count), hash, isWildcard: true)
                if found > 0 { best = found }
            }
            hash = RouteHash.backwards(hash, name[i])
        }
        return best
    }

    private func host(_ name: Span<UInt8>, _ hash: UInt64, isWildcard: Bool) -> Int32 {
        let mask = hostEntries.count - 1
        var place = Int(truncatingIfNeeded: hash) & mask
        while hostEntries[place].host >= 0 {
            let entry = hostEntries[place]
            if entry.hash == hash && entry.isWildcard == isWildcard && Int(entry.label.count) == name.count {
                var same = true
                for i in name.indices where name[i].asciiLowercased != text[Int(entry.label.start) + i] { same = false }
                if same { return entry.host }
            }
            place = (place + 1) & mask
        }
        return -1
    }
}
