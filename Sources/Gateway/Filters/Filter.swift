// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
package import Upstream

/// One thing that is done with requests or answers on their way: a check, a limit, a change. Compiled once from the configuration and
/// shared by all reactors; what belongs to one request is kept in `FilterPass.state`.
///
///     client ──► request ──► request ──► … ──► guard ──► upstream
///     client ◄── response ◄── response ◄── … ◄──────────────┘            in reverse
///
/// All calls come on the request's reactor. A filter that only looks and decides costs a call; one that has to wait says `.wait` and calls
/// `FilterPass.resume` later. The order of filters is `FilterRank`'s, not the file's.
package protocol Filter: AnyObject, Sendable {
    /// The request's head is here; connection-level fields are gone from it, and its path is normal.
    func request(_ pass: FilterPass) -> FilterStep

    /// After `.collect`: the whole request body, which may be rewritten in place. `Content-Length` follows by itself.
    func collected(_ pass: FilterPass, _ body: inout ByteBuffer) -> FilterStep

    /// The head of an answer: an upstream's, or the gateway's own (`pass.isLocalAnswer`).
    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep

    /// After `ResponseStep.collect`: the whole body of the answer, which may be rewritten in place.
    func collectedResponse(_ pass: FilterPass, _ head: ResponseHead, _ body: inout ByteBuffer) -> ResponseStep

    /// The upstream gave no answer: an answer from elsewhere instead, or `nil`.
    func failed(_ pass: FilterPass, _ failure: GuardedFailure) -> LocalAnswer?

    /// The request is over, however it ended. Called once for each filter whose `request` was called: gives back what is held for it.
    func ended(_ pass: FilterPass)

    /// Called once a second on the first reactor of a gateway that runs by it: for files to be looked at and keys to be fetched.
    func everySecond(_ home: GatewayReactor)
}

extension Filter {
    package func request(_ pass: FilterPass) -> FilterStep { .next }
    package func collected(_ pass: FilterPass, _ body: inout ByteBuffer) -> FilterStep { .next }
    package func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep { .next }
    package func collectedResponse(_ pass: FilterPass, _ head: ResponseHead, _ body: inout ByteBuffer) -> ResponseStep { .next }
    package func failed(_ pass: FilterPass, _ failure: GuardedFailure) -> LocalAnswer? { nil }
    package func ended(_ pass: FilterPass) {}
    package func everySecond(_ home: GatewayReactor) {}
}

/// What a filter says of a request.
package enum FilterStep {
    case next
    /// The filter calls `FilterPass.resume` on this reactor. Meanwhile bytes of the body are held, no more than the client has leave to send.
    case wait
    /// Calls `collected` once the whole body is here. One of more bytes is refused with 413, or by `.passOn` goes past the filter as it is.
    case collect(limit: Int, overflow: ResponseStep.Overflow = .fail)
    case refuse(FilterRefusal)
    case answer(LocalAnswer)
}

/// What a filter says of an answer.
package enum ResponseStep {
    case next
    /// Calls `collectedResponse` once the whole body is here. An answer without a body is "collected" at once.
    case collect(limit: Int, overflow: Overflow)
    /// Bytes go through this on their way to the client. Only where `pass.answerHasBody`.
    case stage(any ResponseStage)
    /// The client gets this instead; what still comes from the upstream is dropped.
    case replace(LocalAnswer)

    /// What becomes of an answer that is too long to be collected.
    package enum Overflow: Sendable {
        /// 502 `response.too_large`.
        case fail
        /// The filter is passed over.
        case passOn
    }
}

/// Changes, watches or measures the body of one answer while it passes.
package protocol ResponseStage: AnyObject {
    /// Appends to `out` what may go on.
    func body(_ bytes: Span<UInt8>, into out: inout ByteBuffer)
    /// The answer is complete: appends what was held back.
    func end(into out: inout ByteBuffer)
    /// The answer broke off; nothing can be appended any more.
    func aborted()
}

extension ResponseStage {
    package func aborted() {}
}

/// Watches the body of one request while it passes.
package protocol RequestTap: AnyObject {
    /// A refusal ends the request.
    func body(_ bytes: Span<UInt8>) -> FilterRefusal?
    /// The request is complete.
    func end() -> FilterRefusal?
}

/// Why a filter does not let a request pass. Its answer is a problem with this reason, as for every refusal of the gateway.
package struct FilterRefusal {
    package var reason: Reason
    /// A sentence of the gateway's own: nothing of the request, and nothing that helps an attacker.
    package var detail: String
    package var retryAfterNanoseconds: Int64?
    /// Written into the answer beside the problem's own; names in lower case.
    package var fields: [(name: StaticString, value: [UInt8])] = []

    package init(_ reason: Reason, detail: String = "", retryAfterNanoseconds: Int64? = nil) {
        self.reason = reason
        self.detail = detail
        self.retryAfterNanoseconds = retryAfterNanoseconds
    }
}

/// An answer that a filter gives in place of the upstream's.
package final class LocalAnswer {
    package let head = ResponseHead()
    /// The whole body. For HEAD it is left out by itself; `Content-Length` follows by itself too.
    package var body: ArraySlice<UInt8>
    /// Why this is no ordinary answer, for log and metrics.
    package var reason: Reason?

    package init(status: Int, body: ArraySlice<UInt8> = []) {
        head.status = status
        self.body = body
    }
}
