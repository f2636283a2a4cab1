// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// A route's answer that sends the client elsewhere (RFC 9110 §15.4).
package struct Redirect: Equatable, Sendable {
    /// 301, 302, 303, 307 or 308.
    package let status: Int
    package let target: TargetTemplate

    /// Throws on another status and on a template that is not well-formed.
    package init(status: Int = 308, target: String, for pattern: PathPattern) throws(PatternError) {
        guard [301, 302, 303, 307, 308].contains(status) else {
            throw PatternError(message: "\(status) is not a redirect; one of 301, 302, 303, 307, 308")
        }
        self.status = status
        self.target = try TargetTemplate(target, for: pattern, use: .redirect)
    }

    /// Makes the answer, without a body. False if the request's host cannot stand in a `Location`: 400 `request.host`.
    package func write(
        into answer: ResponseHead, for head: RequestHead, _ match: borrowing RouteTable.Match, isSecure: Bool
    ) -> Bool {
        guard let location = target.render(head, match, isSecure: isSecure) else { return false }
        answer.reset()
        answer.status = status
        head.withBytes(location) { answer.fields.append(.location, $0) }
        answer.framing = .length(0)
        return true
    }
}
