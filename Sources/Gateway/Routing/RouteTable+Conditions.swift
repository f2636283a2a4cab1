// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

extension RouteTable {
    /// The first of the candidates whose conditions and method fit, or -1. The methods of one that fits but for its method
    /// are noted for a 405.
    @inline(__always)
    func firstFitting(_ range: Range32, _ head: RequestHead, _ search: inout Search) -> Int32 {
        for i in range.range {
            let route = candidates[i]
            let compiled = routes[Int(route)]
            if !compiled.conditions.isEmpty && !holds(compiled.conditions, head) { continue }
            if compiled.methods.bits & search.method.bits != 0 { return route }
            search.allowed.bits |= compiled.methods.bits
        }
        return -1
    }

    private func holds(_ range: Range32, _ head: RequestHead) -> Bool {
        for i in range.range {
            let condition = conditions[i]
            if !(condition.isQuery ? queryHolds(condition, head) : headerHolds(condition, head)) { return false }
        }
        return true
    }

    private func headerHolds(_ condition: CompiledCondition, _ head: RequestHead) -> Bool {
        for i in head.fields.entries.indices {
            let entry = head.fields.entries[i]
            if entry.isRemoved || entry.known != condition.known { continue }
            if condition.known == .other {
                let same = head.reading { equals($0, entry.name.bounds, condition.name) }
                if !same { continue }
            }
            if !condition.hasValue { return true }
            if head.reading({ equals($0, entry.value.bounds, condition.value) }) { return true }
        }
        return false
    }

    private func queryHolds(_ condition: CompiledCondition, _ head: RequestHead) -> Bool {
        head.reading(head.query) { query in
            var start = 0
            while start <= query.count {
                var end = start
                var equalsSign = -1
                while end < query.count && query[end] != UInt8(ascii: "&") {
                    if equalsSign < 0 && query[end] == UInt8(ascii: "=") { equalsSign = end }
                    end += 1
                }
                let nameEnd = equalsSign < 0 ? end : equalsSign
                let valueStart = equalsSign < 0 ? end : equalsSign + 1
                if end > start && decodes(query.extracting(start..<nameEnd), to: condition.name)
                    && (!condition.hasValue || decodes(query.extracting(valueStart..<end), to: condition.value))
                {
                    return true
                }
                start = end + 1
            }
            return false
        }
    }

    /// Whether `encoded`, decoded as a form does it (`+` is a space, a broken escape is itself), is exactly this text.
    private func decodes(_ encoded: Span<UInt8>, to range: Range32) -> Bool {
        let wanted = Int(range.count)
        var i = 0
        var position = 0
        while i < encoded.count {
            if position == wanted { return false }
            var byte = encoded[i]
            i += 1
            if byte == UInt8(ascii: "+") {
                byte = UInt8(ascii: " ")
            } else if byte == RequestPath.percent, i + 1 < encoded.count,
                let high = encoded[i].hexDigitValue, let low = encoded[i + 1].hexDigitValue
            {
                byte = high << 4 | low
                i += 2
            }
            if byte != text[Int(range.start) + position] { return false }
            position += 1
        }
        return position == wanted
    }
}
