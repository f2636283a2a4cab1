// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// How a route turns the path that was matched into the path that its upstream is asked for.
package struct PathRewrite: Equatable, Sendable {
    private enum Kind: Equatable, Sendable {
        case keep
        /// Takes so many bytes, whole literal segments, off the front.
        case strip(bytes: Int)
        case template(TargetTemplate)
    }

    private let kind: Kind

    /// The path as it was matched.
    package static let keep = PathRewrite(kind: .keep)

    private init(kind: Kind) { self.kind = kind }

    /// Takes `prefix` off: with `/api`, `/api/users` becomes `/users` and `/api` becomes `/`. Throws unless the pattern
    /// begins with exactly these segments, so that it is always there to be taken.
    package init(stripping prefix: String, from pattern: PathPattern) throws(PatternError) {
        var text = prefix
        if text.count > 1 && text.hasSuffix("/") { text.removeLast() }
        let wanted = try PathPattern(text)
        let segments = wanted.segments
        guard !wanted.isPrefix, text != "/", wanted.parameterNames.isEmpty, pattern.segments.starts(with: segments) else {
            throw PatternError(message: "the prefix “\(prefix)” must be how the route's path begins, in whole literal segments")
        }
        var bytes = 0
        for case .literal(let label) in segments { bytes += 1 + label.count }
        kind = .strip(bytes: bytes)
    }

    /// Writes the path anew by `TargetTemplate`.
    package init(template: String, for pattern: PathPattern) throws(PatternError) {
        kind = .template(try TargetTemplate(template, for: pattern, use: .path))
    }

    /// The upstream's path: a part of the path that was matched, or new at the end of the arena. The query stays as it is.
    package func apply(to head: RequestHead, _ match: borrowing RouteTable.Match) -> Slice {
        switch kind {
        case .keep:
            return head.path
        case .strip(let bytes):
            var offset = head.path.range.lowerBound + bytes
            let end = head.path.range.upperBound
            // Where empty segments are kept: a path must not begin with two slashes, which could be read as a host.
            while offset + 1 < end && head.fields.byte(at: offset + 1) == RequestPath.slash { offset += 1 }
            if offset >= end { return head.fields.store("/") }
            return Slice(offset: offset, length: end - offset)
        case .template(let template):
            return template.render(head, match, isSecure: false) ?? head.path
        }
    }
}
