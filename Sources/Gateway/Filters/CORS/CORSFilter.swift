// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP

/// Tells browsers which pages of other origins may use a route (Fetch standard, "CORS protocol"): preflights are answered here, and every
/// answer, the gateway's own refusals too, says who may read it.
///
/// It does not refuse requests: what a browser may not read, it does not read; what is no browser does not ask.
final class CORSFilter: Filter {
    private let origins: [Configuration.CORSFilter.Origin]
    private let takesAny: Bool
    private let credentials: Bool
    private let methods: [UInt8]
    private let headers: [UInt8]
    private let exposed: [UInt8]
    private let maxAge: [UInt8]

    init(_ settings: Configuration.CORSFilter) {
        origins = settings.origins
        takesAny = settings.origins.contains(.any)
        credentials = settings.credentials
        methods = Array(settings.methods.joined(separator: ", ").utf8)
        headers = Array(settings.headers.joined(separator: ", ").utf8)
        exposed = Array(settings.expose.joined(separator: ", ").utf8)
        maxAge = Array("\(settings.maxAge.components.seconds)".utf8)
    }

    /// The method that a preflight asks about; `nil`: it is none.
    static func method(askedForBy head: RequestHead) -> Method? {
        guard head.method == .options, head.fields.first(named: CORSFilter.origin) != nil,
            let i = head.fields.first(named: CORSFilter.requestMethod)
        else { return nil }
        let method = head.fields.withValue(i) { Method.recognise($0) }
        return method == .other ? nil : method
    }

    func request(_ pass: FilterPass) -> FilterStep {
        guard CORSFilter.method(askedForBy: pass.head) != nil else { return .next }
        return .answer(LocalAnswer(status: 204))
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        for name in CORSFilter.own { head.fields.removeAll(named: name.span) }
        let isPreflight = CORSFilter.method(askedForBy: pass.head) != nil
        if !takesAny { head.fields.append("vary", "origin") }
        guard let i = pass.head.fields.first(named: CORSFilter.origin) else { return .next }
        let origin = pass.head.fields.string(i)
        guard allows(origin) else { return .next }
        head.fields.append("access-control-allow-origin", takesAny ? "*" : origin)
        if credentials { head.fields.append("access-control-allow-credentials", "true") }
        if isPreflight {
            head.fields.append(name: CORSFilter.own[2], value: methods)
            if !headers.isEmpty { head.fields.append(name: CORSFilter.own[3], value: headers) }
            head.fields.append(name: CORSFilter.own[5], value: maxAge)
        } else if !exposed.isEmpty {
            head.fields.append(name: CORSFilter.own[4], value: exposed)
        }
        return .next
    }

    /// An origin is compared as a browser spells it: in lower case, without a default port.
    private func allows(_ origin: String) -> Bool {
        if takesAny { return true }
        let lower = origin.lowercased()
        return origins.contains { allowed in
            switch allowed {
            case .any: true
            case .exact(let text): text == lower
            case .below(let scheme, let suffix):
                // At least one character before the dot, and none that ends a host.
                lower.hasPrefix("\(scheme)://") && lower.hasSuffix(".\(suffix)")
                    && CORSFilter.isHost(lower.dropFirst(scheme.count + 3).dropLast(suffix.count + 1))
            }
        }
    }

    private static func isHost(_ text: Substring) -> Bool {
        !text.isEmpty && !text.hasPrefix(".")
            && text.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
            }
    }

    private static let origin = Array("origin".utf8)
    private static let requestMethod = Array("access-control-request-method".utf8)

    private static let own: [[UInt8]] = [
        "access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods",
        "access-control-allow-headers", "access-control-expose-headers", "access-control-max-age",
    ].map { Array($0.utf8) }
}
