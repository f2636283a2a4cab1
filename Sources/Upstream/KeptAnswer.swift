// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP
package import Transport

/// The answer of an attempt after which the request is tried again. If no later attempt brings one, it is the client's (semantics,
/// section 3, T5): an upstream's own 503 says more than our 502.
///
/// It goes on reading while the next attempt is under way, up to a limit, and counts only once it is whole.
package final class KeptAnswer: ResponseHandler {
    /// A longer body is not kept.
    static let bodyLimit = 64 * 1024

    let head = ResponseHead()
    private(set) var body = ByteBuffer()
    private(set) var trailers = FieldSection()
    private(set) var isWhole = false
    private var exchange: ClientExchange?

    /// Takes over `exchange`, whose answer begins with `response`.
    init(_ response: ResponseHead, of exchange: ClientExchange) {
        head.parts = response.parts
        head.fields.append(contentsOf: response.fields)
        self.exchange = exchange
        exchange.handOver(to: self)
    }

    /// One that is over: a head and its trailers.
    init(_ response: ResponseHead, trailers: borrowing FieldSection) {
        head.parts = response.parts
        head.fields.append(contentsOf: response.fields)
        self.trailers.append(contentsOf: trailers)
        isWhole = true
    }

    /// Nobody needs it any more. What was not read yet costs the connection.
    func giveUp() {
        exchange?.cancel()
        exchange = nil
    }

    package func informational(_ head: ResponseHead) {}
    package func responseHead(_ head: ResponseHead, endStream: Bool) {}

    package func responseBody(_ bytes: Span<UInt8>) {
        guard body.count + bytes.count <= KeptAnswer.bodyLimit else {
            body.removeAll()
            giveUp()
            return
        }
        body.append(bytes)
        exchange?.consumed(bytes.count)
    }

    package func responseEnded(trailers: borrowing FieldSection) {
        exchange = nil
        isWhole = true
        self.trailers.append(contentsOf: trailers)
    }

    package func exchangeFailed(_ failure: ExchangeFailure) { exchange = nil }
    package func requestDrained() {}
    package func requestFlushed() {}
}
