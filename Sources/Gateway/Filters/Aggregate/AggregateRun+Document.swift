// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON

/// The document: each part's value copied as it was written, only where another part is joined into it member by member.
extension AggregateRun {
    /// `nil`: it would be longer than allowed. One part joined into many elements makes much of little.
    func document() -> ByteBuffer? {
        var writer = JSONWriter()
        writer.beginObject()
        var names: Set<[UInt8]> = reservedNames
        for i in plan.parts.indices {
            guard let value = value(of: i) else { continue }
            let joins = joins(into: i)
            switch plan.parts[i].placement {
            case .member(let name):
                writer.name(name)
                write(value, joins, to: &writer)
            case .flatten:
                for (name, member) in value.members {
                    let bytes = name.withString { span in span.indices.map { span[$0] } }
                    guard names.insert(bytes).inserted else { continue }
                    writer.name(name)
                    write(member, joins.compactMap { $0.below(name) }, to: &writer)
                }
            case .join: break
            }
            if writer.byteCount > plan.byteLimit { return nil }
        }
        writeState(to: &writer)
        writer.endObject()
        return writer.byteCount > plan.byteLimit ? nil : writer.finish()
    }

    /// What members of flattened parts cannot be called.
    private var reservedNames: Set<[UInt8]> {
        var names = Set([plan.completeName, plan.missingName].compactMap { $0 })
        for case .member(let name) in plan.parts.map(\.placement) { names.insert(name) }
        return names
    }

    private func writeState(to writer: inout JSONWriter) {
        if let name = plan.completeName {
            writer.name(name)
            writer.value(isComplete)
        }
        let missing = missing
        if let name = plan.missingName, !missing.isEmpty {
            writer.name(name)
            writer.beginObject()
            for (part, reason) in missing {
                writer.name(plan.parts[part].name)
                writer.value(reason.rawValue)
            }
            writer.endObject()
        }
    }

    // MARK: Joins

    /// A part that is joined into the value at `steps` from here.
    private struct PendingJoin {
        var steps: ArraySlice<JSONPath.Step>
        let join: AggregatePlan.Join
        let index: [[UInt8]: JSONValue]

        func below(_ name: JSONValue) -> PendingJoin? {
            guard case .name(let next)? = steps.first, name.equals(next) else { return nil }
            var below = self
            below.steps = steps.dropFirst()
            return below
        }
    }

    private func joins(into part: Int) -> [PendingJoin] {
        plan.parts.indices.compactMap { i in
            guard case .join(let join) = plan.parts[i].placement, join.into == part, let value = value(of: i) else { return nil }
            return PendingJoin(steps: join.list.steps[...], join: join, index: AggregateRun.index(value, by: join.key))
        }
    }

    /// The elements of a list by their key, or the members of an object by their names. Of two the first stays.
    private static func index(_ value: JSONValue, by key: JSONPath) -> [[UInt8]: JSONValue] {
        var index: [[UInt8]: JSONValue] = [:]
        for element in value.elements {
            guard let key = element[key]?.keyBytes, index[key] == nil else { continue }
            index[key] = element
        }
        for (name, member) in value.members {
            if let key = name.keyBytes { index[key] = member }
        }
        return index
    }

    /// Recursion goes as deep as a join's path is long.
    private func write(_ value: JSONValue, _ joins: [PendingJoin], to writer: inout JSONWriter) {
        if joins.isEmpty || writer.byteCount > plan.byteLimit { return writer.value(value) }
        let here = joins.filter(\.steps.isEmpty)
        if value.kind == .array, !here.isEmpty {
            writer.beginArray()
            for element in value.elements {
                // Nobody reads on once it is too long.
                if writer.byteCount > plan.byteLimit { break }
                write(element, joining: here, to: &writer)
            }
            writer.endArray()
        } else if value.kind == .object {
            writer.beginObject()
            for (name, member) in value.members {
                writer.name(name)
                write(member, joins.compactMap { $0.below(name) }, to: &writer)
            }
            writer.endObject()
        } else {
            writer.value(value)
        }
    }

    private func write(_ element: JSONValue, joining joins: [PendingJoin], to writer: inout JSONWriter) {
        let found = joins.compactMap { pending -> (name: [UInt8], value: JSONValue)? in
            guard let key = element[pending.join.on]?.keyBytes, let value = pending.index[key] else { return nil }
            return (pending.join.member, value)
        }
        guard element.kind == .object, !found.isEmpty else { return writer.value(element) }
        writer.beginObject()
        for (name, member) in element.members where !found.contains(where: { name.equals($0.name) }) {
            writer.name(name)
            writer.value(member)
        }
        for (name, value) in found {
            writer.name(name)
            writer.value(value)
        }
        writer.endObject()
    }
}

extension JSONValue {
    /// What two documents call the same: the text of a string or of a number, so that `7` is `"7"`.
    var keyBytes: [UInt8]? {
        switch kind {
        case .string: withString { span in span.indices.map { span[$0] } }
        case .number: withText { span in span.indices.map { span[$0] } }
        case .null, .bool, .array, .object: nil
        }
    }
}
