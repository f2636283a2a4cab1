// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP

/// Changes header fields of requests and answers: remove, rename, set, add. Values come from the configuration or from the request; whatever
/// they bring, none can end its line (case E25: the field section sees to that).
final class HeadersFilter: Filter {
    private let request: HeaderChanges
    private let response: HeaderChanges
    private let addsSecurity: Bool

    init(_ settings: Configuration.HeadersFilter, parameters: [String]) {
        request = HeaderChanges(settings.request, parameters: parameters)
        response = HeaderChanges(settings.response, parameters: parameters)
        addsSecurity = settings.security
    }

    func request(_ pass: FilterPass) -> FilterStep {
        let values = request.values(pass)
        request.apply(values, to: &pass.head.fields)
        return .next
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        response.apply(response.values(pass), to: &head.fields)
        if addsSecurity { secure(&head.fields, isSecure: pass.isSecure) }
        return .next
    }

    /// What browsers are told by a site that is careful. What the service says itself stays.
    private func secure(_ fields: inout FieldSection, isSecure: Bool) {
        func add(_ name: StaticString, _ value: StaticString) {
            let absent = name.withUTF8Buffer { name in unsafe fields.first(named: Array(name).span) == nil }
            guard absent else { return }
            let name = fields.store(name)
            let value = fields.store(value)
            fields.append(name: name, value: value, known: .other)
        }
        // RFC 6797 §7.2: not over clear connections.
        if isSecure { add("strict-transport-security", "max-age=63072000") }
        add("x-content-type-options", "nosniff")
        add("x-frame-options", "DENY")
        add("referrer-policy", "strict-origin-when-cross-origin")
    }
}

/// The changes of one direction, made ready.
struct HeaderChanges: Sendable {
    private struct Name: Sendable {
        let bytes: [UInt8]
        init(_ text: String) { bytes = Array(text.utf8) }
    }

    private let remove: [Name]
    private let rename: [(from: Name, to: Name)]
    private let set: [(name: Name, value: ValueWriter)]
    private let add: [(name: Name, value: ValueWriter)]

    init(_ changes: Configuration.HeadersFilter.Changes, parameters: [String]) {
        remove = changes.remove.map { Name($0) }
        rename = changes.rename.map { (Name($0.name), Name($0.value)) }
        set = changes.set.map { (Name($0.name), ValueWriter($0.value, parameters: parameters)) }
        add = changes.add.map { (Name($0.name), ValueWriter($0.value, parameters: parameters)) }
    }

    /// The texts of `set` and `add`, in order: filled in before any field is changed, since they may be made of the fields that are.
    func values(_ pass: FilterPass) -> [[UInt8]] {
        set.map { HeaderChanges.text(of: $0.value, pass) } + add.map { HeaderChanges.text(of: $0.value, pass) }
    }

    func apply(_ values: [[UInt8]], to fields: inout FieldSection) {
        for name in remove { fields.removeAll(named: name.bytes.span) }
        for (from, to) in rename {
            for i in 0..<fields.count where fields.isLive(i, named: from.bytes.span) {
                let value = fields.withValue(i) { span in span.indices.map { span[$0] } }
                fields.remove(at: i)
                fields.append(name: to.bytes, value: value)
            }
        }
        for (i, (name, _)) in set.enumerated() {
            fields.removeAll(named: name.bytes)
            if !values[i].isEmpty { fields.append(name: name.bytes, value: values[i]) }
        }
        for (i, (name, _)) in add.enumerated() where !values[set.count + i].isEmpty {
            fields.append(name: name.bytes, value: values[set.count + i])
        }
    }

    private static func text(of value: ValueWriter, _ pass: FilterPass) -> [UInt8] {
        if let constant = value.constant { return constant }
        var text = ByteBuffer()
        value.write(pass, into: &text)
        return text.withReadable { span in span.indices.map { span[$0] } }
    }
}
