// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Text with `{variables}` that are filled in for each request: `user-{claim.sub}`. `{{` is a brace.
    public struct ValueTemplate: Hashable, Sendable, CustomStringConvertible {
        public enum Variable: Hashable, Sendable {
            /// The client's address, as trusted peers tell it.
            case clientIP
            case method, host, path, query, scheme, route
            case requestID
            /// Who an authentication filter found it to be.
            case consumer
            /// A field of the request, its first value.
            case header(String)
            /// A parameter of the request's query, as it was written.
            case queryParameter(String)
            case cookie(String)
            /// A parameter of the route's path, as it was written.
            case parameter(String)
            /// A claim of the request's token: `{claim.sub}`, `{claim.realm.roles[0]}`.
            case claim(String)
            case tlsVersion, tlsServerName
        }

        public enum Piece: Hashable, Sendable {
            case literal(String)
            case variable(Variable)
        }

        public var pieces: [Piece]
        public let description: String

        public init(_ text: String) throws(PatternError) {
            description = text
            pieces = []
            var literal = ""
            var rest = text[...]
            while let first = rest.first {
                if rest.hasPrefix("{{") || rest.hasPrefix("}}") {
                    literal.append(first)
                    rest = rest.dropFirst(2)
                } else if first == "{" {
                    guard let close = rest.firstIndex(of: "}") else { throw PatternError("a { has no }; a brace itself is {{") }
                    if !literal.isEmpty { pieces.append(.literal(literal)) }
                    literal = ""
                    pieces.append(.variable(try ValueTemplate.variable(String(rest[rest.index(after: rest.startIndex)..<close]))))
                    rest = rest[rest.index(after: close)...]
                } else if first == "}" {
                    throw PatternError("a } has no {; a brace itself is }}")
                } else {
                    literal.append(first)
                    rest = rest.dropFirst()
                }
            }
            if !literal.isEmpty { pieces.append(.literal(literal)) }
        }

        /// One variable alone.
        package init(_ variable: Variable) {
            description = ""
            pieces = [.variable(variable)]
        }

        private static let plain: [String: Variable] = [
            "client_ip": .clientIP, "method": .method, "host": .host, "path": .path, "query": .query, "scheme": .scheme,
            "route": .route, "request_id": .requestID, "consumer": .consumer, "tls.version": .tlsVersion,
            "tls.server_name": .tlsServerName,
        ]

        private static func variable(_ name: String) throws(PatternError) -> Variable {
            if let variable = plain[name] { return variable }
            let parts = name.split(separator: ".", maxSplits: 1)
            if parts.count == 2, !parts[1].isEmpty {
                let argument = String(parts[1])
                switch parts[0] {
                case "header" where Words.isToken(argument): return .header(argument.lowercased())
                case "query": return .queryParameter(argument)
                case "cookie" where Words.isToken(argument): return .cookie(argument)
                case "param": return .parameter(argument)
                case "claim": return .claim(argument)
                default: break
                }
            }
            let known = plain.keys.sorted() + ["header.NAME", "query.NAME", "cookie.NAME", "param.NAME", "claim.PATH"]
            let help = nearestName(to: name, among: plain.keys.sorted()).map { "did you mean {\($0)}?" }
            throw PatternError("{\(name)} is not known; " + (help ?? "known are \(known.joined(separator: ", "))"))
        }

        var parameterNames: [String] {
            pieces.compactMap { if case .variable(.parameter(let name)) = $0 { name } else { nil } }
        }
    }
}

extension Kind where Value == Configuration.ValueTemplate {
    /// What a field is set to.
    static var fieldTemplate: Kind {
        .scalar(
            .scalar(.string, meaning: "field value, with `{variables}`"),
            expected: "a field value, perhaps with variables such as {client_ip} or {header.x-name}", text: \.description
        ) { text throws(ScalarProblem) in
            guard Words.isFieldValue(text) else { throw ScalarProblem("is no field value") }
            do throws(Configuration.PatternError) {
                return try Configuration.ValueTemplate(text)
            } catch { throw ScalarProblem("is no template: \(error)") }
        }
    }
}
