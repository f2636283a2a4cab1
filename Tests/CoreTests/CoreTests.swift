// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@Suite struct ByteBufferTests {
    func text(_ buffer: borrowing ByteBuffer) -> String {
        buffer.withReadable { span in String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self) }
    }

    @Test(arguments: [0, 1, 9, 10, 99, 100, 12_345, Int.max])
    func appendsDecimalAsSwiftPrintsIt(value: Int) {
        var buffer = ByteBuffer()
        buffer.append(decimal: value)
        #expect(text(buffer) == String(value))
    }

    @Test(arguments: [0, 1, 15, 16, 255, 256, 0xdead_beef, UInt64.max])
    func appendsHexadecimalWithoutLeadingZeros(value: UInt64) {
        var buffer = ByteBuffer()
        buffer.append(hexadecimal: value)
        #expect(text(buffer) == String(value, radix: 16))
    }

    @Test(arguments: [0, 1, 15, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, 0xA0A0_9999_0F0F_FFFF, UInt64.max])
    func appendsSixteenHexadecimalDigits(value: UInt64) {
        var buffer = ByteBuffer()
        buffer.append(hexadecimalPadded: value)
        let digits = String(value, radix: 16)
        #expect(text(buffer) == String(repeating: "0", count: 16 - digits.count) + digits)
    }

    @Test func keepsOrderAcrossGrowthAndCompaction() {
        var buffer = ByteBuffer()
        var expected: [UInt8] = []
        var next: UInt8 = 0
        for round in 0..<500 {
            for _ in 0..<(round % 37) {
                buffer.append(next)
                expected.append(next)
                next &+= 1
            }
            let drop = min(round % 29, expected.count)
            buffer.consume(drop)
            expected.removeFirst(drop)
            let held = buffer.count
            #expect(held == expected.count)
            buffer.withReadable { span in for i in span.indices { #expect(span[i] == expected[i]) } }
        }
        buffer.consume(.max)
        let empty = buffer.isEmpty
        #expect(empty)
        buffer.releaseStorage()
        let capacity = buffer.capacity
        #expect(capacity == 0)
    }

    @Test func takesOverTheMemoryOfAnotherBufferWhenEmpty() {
        var from = ByteBuffer()
        from.append("abc")
        var to = ByteBuffer()
        to.append(movingFrom: &from)
        #expect(text(to) == "abc")
        from.append("def")
        to.append(movingFrom: &from)
        #expect(text(to) == "abcdef")
        let emptied = from.isEmpty
        #expect(emptied)
    }
}

@Suite struct InstantTests {
    @Test func saturatesInsteadOfTrapping() {
        #expect(Instant.never.advanced(byNanoseconds: 1) == .never)
        #expect(Instant.never.advanced(by: .seconds(1)) == .never)
        #expect(Instant(nanoseconds: .min).nanoseconds(since: .never) == .min)
        #expect(Duration.seconds(Int64.max).wholeNanoseconds == .max)
        #expect(Duration.milliseconds(1500).wholeNanoseconds == 1_500_000_000)
    }
}

@Suite struct DrawTests {
    @Test func dependsOnEachOfItsArguments() {
        let draw = Draw(seed: 1)
        let one = draw.bits(request: 7, .backoff, 0)
        #expect(one == draw.bits(request: 7, .backoff, 0))
        #expect(one != draw.bits(request: 8, .backoff, 0))
        #expect(one != draw.bits(request: 7, .hedge, 0))
        #expect(one != draw.bits(request: 7, .backoff, 1))
        #expect(one != Draw(seed: 2).bits(request: 7, .backoff, 0))
    }

    @Test func isUniformEnough() {
        let draw = Draw(seed: 42)
        var counts = [Int](repeating: 0, count: 10)
        for request in 0..<100_000 { counts[draw.below(10, request: UInt64(request), .endpointChoice)] += 1 }
        for count in counts { #expect(abs(count - 10_000) < 475) }  // 5 standard deviations
    }
}

@Suite struct ReasonTests {
    /// The words are an API (semantics, section 0.2): a change here is a change for every dashboard and assertion.
    @Test func wordsArePinned() {
        #expect(
            Reason.allCases.map(\.rawValue).joined(separator: " ") == """
                request.malformed request.framing request.target request.host request.loop request.header_too_large \
                request.body_too_large request.uri_too_long request.coding \
                request.content_coding request.expectation request.method \
                request.body_type request.body_malformed request.body_mapping \
                client.tls_timeout client.tls_failed client.header_timeout client.slow client.cancelled client.flood \
                route.none route.misdirected auth.missing auth.invalid auth.forbidden auth.unavailable rate_limit.exceeded \
                rate_limit.unavailable \
                limit.connections cache.only_if_cached breaker.open breaker.half_open breaker.ramp breaker.forced bulkhead.full \
                bulkhead.queue_timeout bulkhead.codel shed.occupancy shed.lag shed.memory shed.descriptors shed.throttle \
                lb.no_healthy deadline deadline.insufficient timeout.per_try timeout.first_byte timeout.idle dns \
                connect.refused connect.timeout connect.failed tls.handshake tls.verify tls.timeout reset.before_headers \
                reset.after_headers protocol body.truncated response.too_large response.unusable aggregate.dependency \
                h2.refused_stream h2.goaway_unprocessed h2.enhance_your_calm \
                conn.stale local.resources status.failure status.backpressure grpc.failure hedge.lost retry.committed \
                retry.max retry.pushback retry.not_retryable retry.body retry.breaker retry.deadline retry.budget \
                retry.exhausted drain maintenance shutdown internal
                """)
    }

    @Test(arguments: [
        (Reason.breakerOpen, 503, 14), (.deadline, 504, 4), (.connectRefused, 502, 14), (.connectTimeout, 504, 14),
        (.requestFraming, 400, 3), (.rateLimitExceeded, 429, 8), (.routeMisdirected, 421, 14), (.internal, 500, 13),
    ])
    func mapsToStatus(reason: Reason, http: Int, grpc: Int) {
        #expect(reason.httpStatus == http)
        #expect(reason.grpcStatus == grpc)
    }
}
