// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Why a document cannot be made into what is declared.
package struct JSONMappingError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Problem: Sendable, Equatable {
        case missing
        case notAnObject
        case notAnArray
        case notConvertible(JSONMapping.Conversion)
        case tooLong(Int)
    }

    package var problem: Problem
    /// Where in the source: from its object or, within an array, from the element.
    package var path: JSONPath

    package var description: String {
        switch problem {
        case .missing: "\(path) is missing"
        case .notAnObject: "\(path) is no object"
        case .notAnArray: "\(path) is no array"
        case .notConvertible(let conversion): "\(path) cannot be written as \(conversion.rawValue)"
        case .tooLong(let limit): "the result is longer than \(limit) bytes"
        }
    }
}

extension JSONMapping {
    /// What the outermost value may be.
    package enum Root: String, Sendable, Equatable, CaseIterable {
        case object
        /// An array of such objects.
        case array
        case either
    }

    /// Appends what becomes of `value` to `out`. Values that are not converted are copied as they were written.
    ///
    /// - Parameter limit: bytes of the result; a mapping may take one value several times.
    package func apply(
        to value: JSONValue, as root: Root = .object, limit: Int, into out: inout ByteBuffer
    ) throws(JSONMappingError) {
        var mapper = Mapper(limit: limit)
        switch (value.kind, root) {
        case (.object, .object), (.object, .either): try mapper.write(self, of: value)
        case (.array, .array), (.array, .either): try mapper.writeEach(value, at: JSONPath(), with: self)
        case (_, .array): throw JSONMappingError(problem: .notAnArray, path: JSONPath())
        default: throw JSONMappingError(problem: .notAnObject, path: JSONPath())
        }
        var made = mapper.writer.finish()
        out.append(movingFrom: &made)
    }
}

/// Writes one result. Recursion goes as deep as the configuration's mapping is nested, or the document where it is kept: both bounded.
private struct Mapper: ~Copyable {
    var writer = JSONWriter()
    let limit: Int

    init(limit: Int) { self.limit = limit }

    private func checkLength() throws(JSONMappingError) {
        if writer.byteCount > limit { throw JSONMappingError(problem: .tooLong(limit), path: JSONPath()) }
    }

    mutating func write(_ mapping: JSONMapping, of source: JSONValue) throws(JSONMappingError) {
        try write(
            mapping.targets, from: source, over: mapping.keepsUnknown ? source : nil, without: mapping.removals)
    }

    /// One object of the result: `kept`'s members where they are, then those that only the mapping has.
    private mutating func write(
        _ targets: JSONMapping.TargetTree, from source: JSONValue, over kept: JSONValue?, without removals: JSONMapping.RemovalTree?
    ) throws(JSONMappingError) {
        writer.beginObject()
        var written: Set<Int> = []
        if let kept {
            for (name, value) in kept.members {
                if let i = targets.members.firstIndex(where: { name.equals($0.name) }) {
                    written.insert(i)
                    let below = removals?.member(named: name)?.below
                    try write(targets.members[i], from: source, over: value.kind == .object ? value : nil, without: below)
                } else if let removal = removals?.member(named: name) {
                    guard let below = removal.below else { continue }
                    try writeRest(of: value, named: name, without: below)
                } else {
                    writer.name(name)
                    writer.value(value)
                    try checkLength()
                }
            }
        }
        for (i, member) in targets.members.enumerated() where !written.contains(i) {
            try write(member, from: source, over: nil, without: nil)
        }
        writer.endObject()
        try checkLength()
    }

    private mutating func write(
        _ member: (name: [UInt8], node: JSONMapping.TargetTree.Node), from source: JSONValue, over kept: JSONValue?,
        without removals: JSONMapping.RemovalTree?
    ) throws(JSONMappingError) {
        switch member.node {
        case .leaf(let leaf): try write(leaf, named: member.name, from: source)
        case .below(let targets):
            // An object of nothing is not made.
            guard kept != nil || Mapper.hasAny(of: targets, in: source) else { return }
            writer.name(member.name)
            try write(targets, from: source, over: kept, without: removals)
        }
    }

    /// An object that is kept without some of its members; one that has no others goes with them.
    private mutating func writeRest(
        of value: JSONValue, named name: JSONValue, without removals: JSONMapping.RemovalTree
    ) throws(JSONMappingError) {
        guard value.kind == .object else {
            writer.name(name)
            writer.value(value)
            return try checkLength()
        }
        guard value.count == 0 || Mapper.leavesAny(of: value, without: removals) else { return }
        writer.name(name)
        try write(JSONMapping.TargetTree(), from: value, over: value, without: removals)
    }

    private static func leavesAny(of value: JSONValue, without removals: JSONMapping.RemovalTree) -> Bool {
        value.members.contains { name, member in
            guard let removal = removals.member(named: name) else { return true }
            guard let below = removal.below else { return false }
            return member.kind != .object || member.count == 0 || leavesAny(of: member, without: below)
        }
    }

    /// Whether at least one of these targets would be written.
    private static func hasAny(of targets: JSONMapping.TargetTree, in source: JSONValue) -> Bool {
        targets.members.contains { member in
            switch member.node {
            case .below(let below): return hasAny(of: below, in: source)
            case .leaf(.constant): return true
            case .leaf(.value(let path, let use)), .leaf(.object(let path, _, let use)), .leaf(.eachValue(let path, _, let use)),
                .leaf(.eachObject(let path, _, let use)):
                return use.isRequired || use.fallback != nil || value(at: path, in: source, use) != nil
            }
        }
    }

    private static func value(at path: JSONPath, in source: JSONValue, _ use: JSONMapping.Use) -> JSONValue? {
        guard let value = source[path], !(use.takesNullForMissing && value.isNull) else { return nil }
        return value
    }

    // MARK: Sources

    private mutating func write(
        _ leaf: JSONMapping.Source, named name: [UInt8], from source: JSONValue
    ) throws(JSONMappingError) {
        switch leaf {
        case .constant(let text):
            writer.name(name)
            writer.verbatim(text.span)
        case .value(let path, let use):
            guard let value = try take(path, from: source, use, for: name) else { return }
            writer.name(name)
            try write(value, at: path, as: use.conversion)
        case .object(let path, let mapping, let use):
            guard let value = try take(path, from: source, use, for: name) else { return }
            guard value.kind == .object else { throw JSONMappingError(problem: .notAnObject, path: path) }
            writer.name(name)
            try write(mapping, of: value)
        case .eachValue(let path, let item, let use):
            guard let value = try take(path, from: source, use, for: name) else { return }
            guard value.kind == .array else { throw JSONMappingError(problem: .notAnArray, path: path) }
            writer.name(name)
            writer.beginArray()
            for element in value.elements {
                guard let found = element[item] else { throw JSONMappingError(problem: .missing, path: item) }
                try write(found, at: item, as: use.conversion)
            }
            writer.endArray()
        case .eachObject(let path, let mapping, let use):
            guard let value = try take(path, from: source, use, for: name) else { return }
            guard value.kind == .array else { throw JSONMappingError(problem: .notAnArray, path: path) }
            writer.name(name)
            try writeEach(value, at: path, with: mapping)
        }
        try checkLength()
    }

    /// `nil`: there is none, and what stands in for it is written.
    private mutating func take(
        _ path: JSONPath, from source: JSONValue, _ use: JSONMapping.Use, for name: [UInt8]
    ) throws(JSONMappingError) -> JSONValue? {
        if let value = Mapper.value(at: path, in: source, use) { return value }
        if let fallback = use.fallback {
            writer.name(name)
            writer.verbatim(fallback.span)
        } else if use.isRequired {
            throw JSONMappingError(problem: .missing, path: path)
        }
        return nil
    }

    mutating func writeEach(_ array: JSONValue, at path: JSONPath, with mapping: JSONMapping) throws(JSONMappingError) {
        writer.beginArray()
        var position = 0
        for element in array.elements {
            guard element.kind == .object else {
                throw JSONMappingError(problem: .notAnObject, path: path.appending(.position(position)))
            }
            try write(mapping, of: element)
            position &+= 1
        }
        writer.endArray()
    }

    private mutating func write(
        _ value: JSONValue, at path: JSONPath, as conversion: JSONMapping.Conversion?
    ) throws(JSONMappingError) {
        guard let conversion else { return writer.value(value) }
        guard writer.value(value, as: conversion) else {
            throw JSONMappingError(problem: .notConvertible(conversion), path: path)
        }
    }
}

extension JSONWriter {
    /// Writes a value in another type. False: it has none of that type, and nothing was written.
    fileprivate mutating func value(_ value: JSONValue, as conversion: JSONMapping.Conversion) -> Bool {
        switch (conversion, value.kind) {
        case (.string, .string), (.number, .number), (.boolean, .bool): self.value(value)
        case (.integer, .number):
            guard let integer = value.int64 else { return false }
            self.value(integer)
        case (.string, .number), (.string, .bool): value.withText { (text: Span<UInt8>) in string(text) }
        case (.number, .string), (.integer, .string), (.boolean, .string):
            let parsed = value.withString { (text: Span<UInt8>) -> JSONDocument? in try? JSONDocument.parse(text) }
            guard let parsed else { return false }
            let isOfType = parsed.root.kind == (conversion == .boolean ? .bool : .number)
            guard isOfType, parsed.root.byteCount == parsed.byteCount else { return false }
            if conversion == .integer {
                guard let integer = parsed.root.int64 else { return false }
                self.value(integer)
            } else {
                self.value(parsed.root)
            }
        default: return false
        }
        return true
    }
}
