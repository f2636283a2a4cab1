// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import HTTP

/// The secondary key of a stored answer: the request fields that its Vary names, with the values that they had (RFC 9111 §4.1).
///
/// Values are compared in a normal form: lines of one name joined by a comma, no space around commas, and for Accept-Encoding also lower case,
/// no `;q=1`, and its members in order, since their order says nothing (RFC 9110 §12.5.3). An absent field matches only an absent one.
package struct Variant: Equatable, Sendable {
    package struct Field: Equatable, Sendable {
        package let name: [UInt8]
        /// Nil: the request had no such field.
        package let value: [UInt8]?
    }

    /// An answer that varies on more is not stored.
    package static let fieldLimit = 16

    package let fields: [Field]

    package static let none = Variant(fields: [])

    init(fields: [Field]) { self.fields = fields }

    /// - Parameter names: lower case.
    package init(_ names: [[UInt8]], of request: borrowing FieldSection) {
        var fields: [Field] = []
        for name in names where !Variant.isInKey(name.span) {
            fields.append(Field(name: name, value: Variant.value(of: name, in: request)))
        }
        self.fields = fields
    }

    /// - Parameters:
    ///   - before: the fields when the cache looked.
    ///   - after: the fields as they were sent.
    /// Nil: one of the names was changed in between, by a later filter or for this client, so that the next request's own field says
    /// nothing about what the upstream would see.
    package init?(_ names: [[UInt8]], before: borrowing FieldSection, after: borrowing FieldSection) {
        self.init(names, of: before)
        for field in fields where Variant.value(of: field.name, in: after) != field.value { return nil }
    }

    /// Host and scheme are, and what stands for them.
    private static func isInKey(_ name: Span<UInt8>) -> Bool {
        name.equals("host") || name.equals("x-forwarded-host") || name.equals("x-forwarded-proto")
    }

    package func matches(_ request: borrowing FieldSection) -> Bool {
        for field in fields where !Variant.hasValue(field, request) { return false }
        return true
    }

    /// Compares without making the normal form where the value is in it already: the common case.
    private static func hasValue(_ field: Field, _ request: borrowing FieldSection) -> Bool {
        guard let i = request.first(named: field.name.span) else { return field.value == nil }
        guard let value = field.value else { return false }
        if request.withValue(i, { $0.equals(value.span) }), isOnly(i, request) { return true }
        return Variant.value(of: field.name, in: request) == value
    }

    private static func isOnly(_ i: Int, _ request: borrowing FieldSection) -> Bool {
        for k in (i + 1)..<max(request.count, i + 1) where !request.entries[k].isRemoved {
            let same = request.withBytes(request.entries[k].name) { name in
                request.withBytes(request.entries[i].name) { name.equals($0) }
            }
            if same { return false }
        }
        return true
    }

    /// The normal form of a field's value; nil if the field is absent.
    static func value(of name: [UInt8], in request: borrowing FieldSection) -> [UInt8]? {
        var elements: [[UInt8]] = []
        var isPresent = false
        let isCoding = name.span.equals("accept-encoding")
        for i in request.entries.indices where !request.entries[i].isRemoved {
            guard request.withBytes(request.entries[i].name, { $0.equals(name.span) }) else { continue }
            isPresent = true
            request.withValue(i) { value in
                var position = 0
                while let range = value.nextElement(&position) {
                    elements.append(isCoding ? coding(value.extracting(range)) : [UInt8](copying: value.extracting(range)))
                }
            }
        }
        guard isPresent else { return nil }
        if isCoding { elements.sort { $0.lexicographicallyPrecedes($1) } }
        return Array(elements.joined(separator: [44]))
    }

    private static func coding(_ element: Span<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for i in 0..<element.count where !element[i].isBlank { out.append(element[i].asciiLowercased) }
        if out.count > 4, out.suffix(4).elementsEqual([59, 113, 61, 49]) { out.removeLast(4) }
        return out
    }
}
