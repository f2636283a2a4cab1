// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Configuration
package import Core
package import Credentials
package import HTTP
import TLS
import Transport

/// Fills in a template for one request. A variable that the request does not have is empty text.
package struct ValueWriter: Sendable {
    private enum Part: Sendable {
        case literal([UInt8])
        case clientIP, method, host, path, query, scheme, route, requestID, consumer, tlsVersion, tlsServerName
        case header([UInt8])
        case queryParameter([UInt8])
        case cookie([UInt8])
        case parameter(Int)
        case claim(ClaimPath)
    }

    private let parts: [Part]

    /// - Parameter parameters: the names of the route's path parameters, in order.
    package init(_ template: Configuration.ValueTemplate, parameters: [String]) {
        parts = template.pieces.map { piece in
            switch piece {
            case .literal(let text): .literal(Array(text.utf8))
            case .variable(let variable):
                switch variable {
                case .clientIP: .clientIP
                case .method: .method
                case .host: .host
                case .path: .path
                case .query: .query
                case .scheme: .scheme
                case .route: .route
                case .requestID: .requestID
                case .consumer: .consumer
                case .tlsVersion: .tlsVersion
                case .tlsServerName: .tlsServerName
                case .header(let name): .header(Array(name.utf8))
                case .queryParameter(let name): .queryParameter(Array(name.utf8))
                case .cookie(let name): .cookie(Array(name.utf8))
                case .parameter(let name): parameters.firstIndex(of: name).map { .parameter($0) } ?? .literal([])
                case .claim(let path): .claim(ClaimPath(path))
                }
            }
        }
    }

    /// Text that is the same for every request.
    package var constant: [UInt8]? {
        var bytes: [UInt8] = []
        for part in parts {
            guard case .literal(let text) = part else { return nil }
            bytes += text
        }
        return bytes
    }

    package func write(_ pass: FilterPass, into out: inout ByteBuffer) {
        let head = pass.head
        for part in parts {
            switch part {
            case .literal(let text): out.append(text)
            case .clientIP: pass.proxy?.facts.identity?.address.write(into: &out)
            case .method:
                if head.method == .other {
                    head.withBytes(head.methodText) { out.append($0) }
                } else {
                    out.append(head.method.text)
                }
            case .host: head.withBytes(pass.proxy?.facts.authority ?? .empty) { out.append($0) }
            case .path: head.withBytes(head.path) { out.append($0) }
            case .query: head.withBytes(head.query) { out.append($0) }
            case .scheme: out.append(pass.isSecure ? "https" : "http" as StaticString)
            case .route: out.append(utf8: pass.route?.name ?? "")
            case .requestID: head.withBytes(pass.requestID) { out.append($0) }
            case .consumer: if let consumer = pass.consumer { out.append(consumer.name) }
            case .tlsVersion: out.append(utf8: pass.proxy?.exchange?.info.tlsVersion ?? "")
            case .tlsServerName: out.append(utf8: pass.tls?.serverName ?? "")
            case .header(let name):
                if let i = head.fields.first(named: name) { head.fields.withValue(i) { out.append($0) } }
            case .queryParameter(let name):
                if let slice = head.queryParameter(named: name) { head.withBytes(slice) { out.append($0) } }
            case .cookie(let name):
                if let slice = head.fields.cookie(named: name.span) { head.withBytes(slice) { out.append($0) } }
            case .parameter(let i): head.withBytes(pass.parameter(i)) { out.append($0) }
            case .claim(let path): if let value = pass.claim(path) { out.append(value) }
            }
        }
    }
}

extension FilterPass {
    /// A claim of the request's token as text; nil if there is none, or it is none that can stand in a field.
    package func claim(_ path: ClaimPath) -> [UInt8]? { claims?.value(at: path)?.fieldValue }
}

extension RequestHead {
    /// The value of the first query parameter that is spelled so, as it stands there.
    package func queryParameter(named name: [UInt8]) -> Slice? {
        let start = query.range.lowerBound
        let found = withBytes(query) { text -> Range<Int>? in
            var at = 0
            while at < text.count {
                var end = at
                while end < text.count, text[end] != UInt8(ascii: "&") { end += 1 }
                let value = at + name.count + 1
                if value <= end, text[value - 1] == UInt8(ascii: "="), text.extracting(at..<(value - 1)).equals(name.span) {
                    return value..<end
                }
                at = end + 1
            }
            return nil
        }
        return found.map { Slice(offset: start + $0.lowerBound, length: $0.count) }
    }
}
