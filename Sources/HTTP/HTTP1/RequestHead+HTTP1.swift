// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// What a head means, once all of it is known. On values, so that a head is written to once.
extension RequestHead.Parts {
    /// Takes over a request line whose bytes are the first of the arena.
    init(_ line: RequestLine, _ fields: inout FieldSection) {
        self.init()
        method = line.method
        methodText = Slice(offset: 0, length: line.methodLength)
        version = line.version
        hasQuery = line.hasQuery
        query = Slice(line.query)
        path = Slice(line.path)
        if case .absolute(let isHTTPS) = line.form {
            schemeIsHTTPS = isHTTPS
            authority = Slice(line.authority)
            if line.path.isEmpty {
                // RFC 9112 §3.2.1 and §3.2.4: no path is `/`, and for OPTIONS without a query it is `*`.
                path = line.method == .options && !line.hasQuery ? fields.store("*") : fields.store("/")
            }
        }
    }

    /// Applies the rules that need the whole head: host, framing, expectation, persistence.
    mutating func settle(_ fields: inout FieldSection) -> DecodeFailure? {
        if fields.hasUnusualNames { fields.dropAliasedNames() }
        if let failure = settleHost(&fields) { return failure }

        switch MessageFraming.read(fields, version: version) {
        case .none: framing = .none
        case .length(let n): framing = .length(n)
        case .chunked: framing = .stream
        case .failure(let failure): return failure
        }

        if let failure = settleExpectation(fields) { return failure }

        if fields.contains(.connection) {
            let options = ConnectionOptions(of: fields)
            if options.isAboveLimit { return .malformed("too many connection options") }
            keepsConnection = options.keepsConnection(version)
        } else {
            keepsConnection = version != .http10
        }
        acceptsTrailers = fields.contains(.te) && RequestHead.Parts.namesTrailers(fields)
        return nil
    }

    /// One valid Host, that agrees with an absolute target (RFC 9112 §3.2; cases A13, A14). It becomes `authority`.
    private mutating func settleHost(_ fields: inout FieldSection) -> DecodeFailure? {
        if schemeIsHTTPS != nil && fields.withBytes(authority, { Authority.read($0) }) == nil {
            return .target("bad authority in the request target")
        }
        guard let i = fields.first(.host) else {
            return version == .http11 ? .host("no Host") : nil
        }
        if fields.first(.host, from: i + 1) != nil { return .host("two Host fields") }
        let host = fields.entries[i].value
        if !host.isEmpty && fields.withBytes(host, { Authority.read($0) }) == nil { return .host("bad Host") }
        if let isHTTPS = schemeIsHTTPS {
            let agree = fields.withBytes(authority) { target in
                fields.withBytes(host) { Authority.areEqual(target, $0, isHTTPS: isHTTPS) }
            }
            if !agree { return .host("Host differs from the request target") }
        } else {
            authority = host
        }
        fields.remove(at: i)
        return nil
    }

    /// RFC 9110 §10.1.1: `100-continue` is the one expectation; HTTP/1.0 cannot have it, and without a body there is nothing
    /// to wait for.
    private mutating func settleExpectation(_ fields: borrowing FieldSection) -> DecodeFailure? {
        if version == .http10 { return nil }
        var next = fields.first(.expect)
        while let i = next {
            guard fields.withValue(i, { $0.equalsIgnoringCase("100-continue") }) else {
                return DecodeFailure(reason: .requestExpectation, detail: "expectation other than 100-continue")
            }
            expectsContinue = framing != .none && framing != .length(0)
            next = fields.first(.expect, from: i + 1)
        }
        return nil
    }

    private static func namesTrailers(_ fields: borrowing FieldSection) -> Bool {
        var next = fields.first(.te)
        while let i = next {
            let found = fields.withValue(i) { value in
                var position = 0
                while let range = value.nextListElement(&position) {
                    if value.extracting(range).equalsIgnoringCase("trailers") { return true }
                }
                return false
            }
            if found { return true }
            next = fields.first(.te, from: i + 1)
        }
        return false
    }
}

extension Slice {
    init(_ range: Range<Int>) { self.init(offset: range.lowerBound, length: range.count) }
}
