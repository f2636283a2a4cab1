// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// A request method; unknown ones are carried as bytes and count as `.other` in metrics (RFC 9110 §9).
package enum Method: UInt8, CaseIterable, Sendable {
    case get, head, post, put, delete, patch, options, connect, trace, other

    /// RFC 9110 §9.2.1.
    package var isSafe: Bool {
        switch self {
        case .get, .head, .options, .trace: true
        case .post, .put, .delete, .patch, .connect, .other: false
        }
    }

    /// RFC 9110 §9.2.2.
    package var isIdempotent: Bool { isSafe || self == .put || self == .delete }

    package var text: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .patch: "PATCH"
        case .options: "OPTIONS"
        case .connect: "CONNECT"
        case .trace: "TRACE"
        case .other: "other"
        }
    }

    /// Methods are case-sensitive (RFC 9110 §9.1).
    package static func recognise(_ bytes: Span<UInt8>) -> Method {
        switch bytes.count {
        case 3: bytes.equals("GET") ? .get : bytes.equals("PUT") ? .put : .other
        case 4: bytes.equals("POST") ? .post : bytes.equals("HEAD") ? .head : .other
        case 5: bytes.equals("PATCH") ? .patch : bytes.equals("TRACE") ? .trace : .other
        case 6: bytes.equals("DELETE") ? .delete : .other
        case 7: bytes.equals("OPTIONS") ? .options : bytes.equals("CONNECT") ? .connect : .other
        default: .other
        }
    }
}

package enum HTTPVersion: UInt8, Sendable { case http10, http11, http2 }

/// How the end of a message body is known.
package enum BodyFraming: Equatable, Sendable {
    /// There is no body.
    case none
    /// Exactly so many bytes.
    case length(UInt64)
    /// Ended by the chunked coding or by END_STREAM; length unknown before.
    case stream
    /// HTTP/1 responses only: ended by the close of the connection (RFC 9112 §6.3 rule 8).
    case untilClose
}

/// A request as it was understood, never as it was spelled. Reused from exchange to exchange on its reactor.
package final class RequestHead {
    /// All but the fields, in one value: a decoder fills a copy and stores it once, since each access to a class's property is
    /// one that the runtime watches over (about 5 ns).
    package struct Parts: Sendable {
        package var version = HTTPVersion.http11
        package var method = Method.get
        /// The method's own bytes; for `.other` the only place that has them.
        package var methodText = Slice.empty
        /// Whether the target was absolute-form, or `:scheme` said so: https or not. `nil` where the target did not say.
        package var schemeIsHTTPS: Bool?
        /// host[:port], from the absolute-form target, `:authority` or Host (RFC 9112 §3.2, RFC 9113 §8.3.1). Empty if Host was
        /// empty.
        package var authority = Slice.empty
        /// The path as received, with its leading slash, or `*` for OPTIONS; no query.
        package var path = Slice.empty
        /// What follows `?`, without it; `hasQuery` tells an empty query from none.
        package var query = Slice.empty
        package var hasQuery = false
        package var framing = BodyFraming.none
        /// `Expect: 100-continue` (RFC 9110 §10.1.1).
        package var expectsContinue = false
        /// HTTP/1: whether the client wants the connection kept after this exchange (RFC 9112 §9.3).
        package var keepsConnection = true
        /// `TE: trailers`, or HTTP/2: the client takes trailers.
        package var acceptsTrailers = false

        package init() {}
    }

    package var parts = Parts()
    /// All fields but Host (it is `authority`); connection-level fields of HTTP/1 included until `stripConnectionFields`.
    package var fields = FieldSection()

    package init() {}

    package var version: HTTPVersion {
        get { parts.version }
        set { parts.version = newValue }
    }
    package var method: Method {
        get { parts.method }
        set { parts.method = newValue }
    }
    package var methodText: Slice {
        get { parts.methodText }
        set { parts.methodText = newValue }
    }
    package var schemeIsHTTPS: Bool? {
        get { parts.schemeIsHTTPS }
        set { parts.schemeIsHTTPS = newValue }
    }
    package var authority: Slice {
        get { parts.authority }
        set { parts.authority = newValue }
    }
    package var path: Slice {
        get { parts.path }
        set { parts.path = newValue }
    }
    package var query: Slice {
        get { parts.query }
        set { parts.query = newValue }
    }
    package var hasQuery: Bool {
        get { parts.hasQuery }
        set { parts.hasQuery = newValue }
    }
    package var framing: BodyFraming {
        get { parts.framing }
        set { parts.framing = newValue }
    }
    package var expectsContinue: Bool {
        get { parts.expectsContinue }
        set { parts.expectsContinue = newValue }
    }
    package var keepsConnection: Bool {
        get { parts.keepsConnection }
        set { parts.keepsConnection = newValue }
    }
    package var acceptsTrailers: Bool {
        get { parts.acceptsTrailers }
        set { parts.acceptsTrailers = newValue }
    }

    /// Ready for the next request; keeps its memory.
    package func reset() {
        parts = Parts()
        fields.removeAll()
    }

    @inline(__always)
    package func withBytes<Result: ~Copyable, Failure: Error>(
        _ slice: Slice, _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result { try fields.withBytes(slice, body) }

    /// Text of a part, for messages and tests.
    package func string(_ slice: Slice) -> String { fields.withBytes(slice) { String(copying: $0) } }
}

/// A response as it was understood.
package final class ResponseHead {
    /// All but the fields; see `RequestHead.Parts`.
    package struct Parts: Sendable {
        package var version = HTTPVersion.http11
        /// 100 … 599.
        package var status = 200
        package var framing = BodyFraming.none
        /// HTTP/1: whether the upstream keeps the connection after this response.
        package var keepsConnection = true

        package init() {}
    }

    package var parts = Parts()
    package var fields = FieldSection()

    package init() {}

    package var version: HTTPVersion {
        get { parts.version }
        set { parts.version = newValue }
    }
    package var status: Int {
        get { parts.status }
        set { parts.status = newValue }
    }
    package var framing: BodyFraming {
        get { parts.framing }
        set { parts.framing = newValue }
    }
    package var keepsConnection: Bool {
        get { parts.keepsConnection }
        set { parts.keepsConnection = newValue }
    }

    package func reset() {
        parts = Parts()
        fields.removeAll()
    }
}

/// What a decoder lets through; everything a peer controls has a limit with a default (design, section 4).
package struct HeadLimits: Equatable, Sendable {
    /// Start line, names, values and 32 for each field (RFC 9113 §6.5.2 counting). Default 64 KiB.
    package var headerBytes = 65_536
    /// Number of fields. Default 100.
    package var headerCount = 100
    /// HTTP/2: `cookie` fields have this limit of their own (RFC 9113 §8.2.3). Default 200.
    package var cookieCrumbs = 200
    /// Request target. Default 8 KiB.
    package var targetBytes = 8_192
    /// Chunk extensions of one message. Default 16 KiB.
    package var chunkExtensionBytes = 16_384
    /// Interim (1xx) responses before the final one. Default 16.
    package var interimResponses = 16

    package init() {}
}
