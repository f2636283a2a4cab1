// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Gateway

@Suite struct ProblemTests {
    /// The answer as `status`, its fields, an empty line, the body.
    static func written(_ problem: Problem, for head: RequestHead?, id: String = "") -> (text: String, framing: BodyFraming) {
        let answer = ResponseHead()
        answer.fields.append("left", "over")
        var body = ByteBuffer()
        body.append("left over")
        var slice = Slice.empty
        if let head, !id.isEmpty { slice = head.fields.store(Array(id.utf8).span) }
        problem.write(into: answer, body: &body, for: head, id: slice)
        var text = "\(answer.status)\n"
        for i in 0..<answer.fields.count {
            let name = answer.fields.entries[i].name
            text += answer.fields.withBytes(name) { String(copying: $0) } + ": \(answer.fields.string(i))\n"
        }
        return (text + "\n" + body.withReadable { String(copying: $0) }, answer.framing)
    }

    @Test func saysWhyAsJSON() {
        let (text, framing) = ProblemTests.written(
            Problem(.breakerOpen, detail: "users is \"open\"\n<b>", retryAfterSeconds: 5), for: requestHead("/"), id: "r-1")
        let body =
            #"{"type":"urn:holdfast:breaker.open","title":"The service is failing and is given time to recover","status":503,"#
            + #""reason":"breaker.open","detail":"users is \"open\"\u000a\u003cb\u003e","request_id":"r-1","retry_after":5}"# + "\n"
        #expect(
            text
                == """
                503
                content-type: application/problem+json
                cache-control: no-store
                x-holdfast-reason: breaker.open
                x-request-id: r-1
                retry-after: 5

                \(body)
                """.replacing("\n\n\n", with: "\n\n"))
        #expect(framing == .length(UInt64(body.utf8.count)))
    }

    @Test func worksBeforeThereIsARequest() {
        let (text, _) = ProblemTests.written(Problem(.requestMalformed), for: nil)
        #expect(
            text.hasPrefix("400\ncontent-type: application/problem+json\n") && text.hasSuffix("\"reason\":\"request.malformed\"}\n")
        )
        #expect(!text.contains("request_id") && !text.contains("detail") && !text.contains("retry"))
    }

    @Test func headGetsTheHeadAlone() {
        let (whole, framing) = ProblemTests.written(Problem(.routeNone), for: requestHead("/"))
        let (text, headFraming) = ProblemTests.written(Problem(.routeNone), for: requestHead("/", method: "HEAD"))
        #expect(text.hasSuffix("\n\n") && whole.hasPrefix(text))
        #expect(headFraming == framing)
    }

    @Test func nothingOfTheClientComesBackUnescaped() {
        let (text, _) = ProblemTests.written(
            Problem(.routeNone), for: requestHead("/<script>", fields: [("a", "<x>")]), id: "\"\\\u{1b}<é")
        #expect(text.contains(#""request_id":"\"\\\u001b\u003c??""#))
        #expect(!text.contains("script"))
    }

    @Test(arguments: [
        ("application/grpc", true), ("application/grpc+proto", true), ("APPLICATION/GRPC; a=b", true),
        ("application/grpc-web+proto", true),
        ("application/grpcx", false), ("application/json", false), ("application/grp", false), ("", false),
    ])
    func knowsGRPC(type: String, wanted: Bool) {
        #expect(Problem.isGRPC(requestHead("/", fields: [("content-type", type)])) == wanted)
    }

    @Test(arguments: [
        (Reason.breakerOpen, 14), (.bulkheadFull, 14), (.loadBalancerNoHealthy, 14), (.deadline, 4), (.timeoutPerTry, 4),
        (.authMissing, 16),
        (.authForbidden, 7), (.rateLimitExceeded, 8), (.routeNone, 12), (.internal, 13),
    ])
    func c14AnswersGRPCInTrailersOnly(reason: Reason, status: Int) {
        let head = requestHead("/a.B/C", method: "POST", fields: [("content-type", "application/grpc")])
        let (text, framing) = ProblemTests.written(Problem(reason), for: head, id: "r")
        #expect(text.hasPrefix("200\ncontent-type: application/grpc\ngrpc-status: \(status)\ngrpc-message: "))
        #expect(text.hasSuffix("x-holdfast-reason: \(reason.rawValue)\nx-request-id: r\n\n"))
        #expect(framing == .none)
    }

    @Test func grpcMessagesAreEscaped() {
        let head = requestHead("/", fields: [("content-type", "application/grpc")])
        let (text, _) = ProblemTests.written(Problem(.drain, detail: "100% é\r\n~", retryAfterSeconds: 3), for: head)
        #expect(text.contains("grpc-message: The gateway is shutting down: 100%25 %C3%A9%0D%0A~\n"))
        #expect(text.contains("grpc-retry-pushback-ms: 3000\n"))
        #expect(
            ProblemTests.written(Problem(.drain, retryAfterSeconds: .max), for: head).text.contains("pushback-ms: \(Int.max)\n"))
    }

    @Test(arguments: Reason.allCases)
    func everyReasonHasATitleThatNeedsNoEscape(reason: Reason) {
        let title = reason.title.description
        #expect(!title.isEmpty && title.first?.isUppercase == true && !title.hasSuffix("."))
        #expect(
            title.utf8.allSatisfy {
                $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "%")
            })
        #expect(reason.rawValue.utf8.allSatisfy { $0.isUnreserved })
    }

    @Test func aNegativeWaitIsNone() {
        #expect(Problem(.drain, retryAfterSeconds: -5).retryAfterSeconds == 0)
    }
}
