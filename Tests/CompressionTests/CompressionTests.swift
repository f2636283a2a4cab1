// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Compression

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func take(_ buffer: inout ByteBuffer) -> [UInt8] {
    let result = buffer.withReadable { span in span.indices.map { span[$0] } }
    buffer.removeAll()
    return result
}

private func compressed(_ body: [UInt8], _ coding: ContentCoding, level: CompressionLevel = .balanced) throws -> [UInt8] {
    let compressor = try #require(Compressor(coding, level: level))
    var out = ByteBuffer()
    compressor.write(body.span, into: &out)
    compressor.finish(into: &out)
    return take(&out)
}

/// What a body becomes, or what is wrong with it, when it comes in pieces of `step` bytes.
private func decoded(_ body: [UInt8], _ codings: [ContentCoding], limit: UInt64 = 1 << 40, step: Int = .max) -> Result<
    UInt64, DecodedSizeProblem
> {
    do throws(DecodedSizeProblem) {
        let size = try DecodedSize(codings, limit: limit)
        var at = 0
        while at < body.count {
            let end = step == .max ? body.count : min(body.count, at + step)
            try size.add(body[at..<end].span)
            at = end
        }
        try size.finish()
        return .success(size.count)
    } catch { return .failure(error) }
}

@Suite struct CompressionTests {
    private static let text = Array(
        repeating: bytes("All that is gold does not glitter, not all those who wander are lost. "), count: 2_000
    ).flatMap(\.self)

    @Test(arguments: ContentCoding.allCases, CompressionLevel.allCases)
    func bodiesBecomeSmallerAndComeBackWhole(coding: ContentCoding, level: CompressionLevel) throws {
        let small = try compressed(Self.text, coding, level: level)
        #expect(small.count < Self.text.count / 10)
        for step in [Int.max, 1_000, 7, 1] {
            #expect(decoded(small, [coding], step: step) == .success(UInt64(Self.text.count)), "\(step)")
        }
        #expect(decoded(try compressed([], coding), [coding]) == .success(0))
    }

    /// What cannot be made smaller passes as well.
    @Test(arguments: ContentCoding.allCases) func noiseComesBackWhole(coding: ContentCoding) throws {
        var state: UInt64 = 1
        let noise = (0..<300_000).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
        let same = try compressed(noise, coding)
        #expect(same.count < noise.count + 1_000)
        #expect(decoded(same, [coding]) == .success(300_000))
    }

    /// A body that comes slowly is not held back: what was written can be read before anything follows.
    @Test(arguments: ContentCoding.allCases) func eachPieceCanBeReadAtOnce(coding: ContentCoding) throws {
        let compressor = try #require(Compressor(coding, level: .balanced))
        let size = try DecodedSize([coding], limit: 1 << 30)
        var out = ByteBuffer()
        var written: UInt64 = 0
        for n in [1, 10, 100, 1, 50_000, 3] {
            compressor.write(Self.text[0..<n].span, into: &out)
            written += UInt64(n)
            try size.add(take(&out).span)
            #expect(size.count == written)
        }
        compressor.finish(into: &out)
        try size.add(take(&out).span)
        try size.finish()
        #expect(size.count == written)
    }

    /// A bomb is stopped when it has become what is allowed, long before it is through.
    @Test(arguments: ContentCoding.allCases) func bombsAreStopped(coding: ContentCoding) throws {
        let compressor = try #require(Compressor(coding, level: .balanced))
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        var out = ByteBuffer()
        for _ in 0..<16 { compressor.write(zeros.span, into: &out) }
        compressor.finish(into: &out)
        let bomb = take(&out)
        #expect(bomb.count < 1 << 17)
        #expect(decoded(bomb, [coding]) == .success(16 << 20))
        #expect(decoded(bomb, [coding], limit: (16 << 20) - 1) == .failure(.tooLarge))
        let size = try DecodedSize([coding], limit: 100_000)
        #expect(throws: DecodedSizeProblem.tooLarge) { try size.add(bomb.span) }
        #expect(size.count < 100_000 + 70_000, "\(size.count)")
        // One inside another.
        let nested = try compressed(bomb, .gzip)
        #expect(decoded(nested, [coding, .gzip], limit: 1 << 20) == .failure(.tooLarge))
        #expect(decoded(nested, [coding, .gzip]) == .success(16 << 20))
    }

    /// RFC 1952 §2.2, RFC 8878 §3.1: members and frames may follow one another, and a bomb may be in the second.
    @Test func whatFollowsTheFirstMemberCountsToo() throws {
        for coding in [ContentCoding.gzip, .zstd] {
            let two = try compressed(bytes("a"), coding) + compressed(Self.text, coding)
            for step in [Int.max, 1] {
                #expect(decoded(two, [coding], step: step) == .success(UInt64(Self.text.count) + 1), "\(coding)")
            }
            #expect(decoded(two, [coding], limit: 1_000) == .failure(.tooLarge))
        }
        for coding in [ContentCoding.deflate, .brotli] {
            #expect(decoded(try compressed(bytes("a"), coding) + bytes("more"), [coding]) == .failure(.malformed), "\(coding)")
        }
    }

    @Test func bareDeflateIsTakenToo() throws {
        let wrapped = try compressed(Self.text, .deflate)
        // Without the two octets before and the four of the checksum behind (RFC 1950 §2.2).
        #expect(decoded(Array(wrapped[2..<(wrapped.count - 4)]), [.deflate]) == .success(UInt64(Self.text.count)))
    }

    @Test(arguments: ContentCoding.allCases) func whatIsNotInTheCodingIsMalformed(coding: ContentCoding) throws {
        #expect(decoded(bytes("{\"plain\": \"text, and enough of it\"}"), [coding]) == .failure(.malformed))
        let whole = try compressed(Self.text, coding)
        for cut in [1, 5, whole.count / 2, whole.count - 1] {
            #expect(decoded(Array(whole[..<cut]), [coding]) == .failure(.malformed), "cut at \(cut)")
        }
        #expect(decoded([], [coding]) == .success(0))
        // Bits that are turned over are found out or change nothing, and never trap.
        for i in whole.indices where i % 11 == 0 {
            var bad = whole
            bad[i] ^= 0x55
            _ = decoded(bad, [coding], limit: 1 << 24)
        }
    }
}

@Suite struct NegotiationTests {
    private func chosen(_ fields: [String], _ codings: [ContentCoding] = [.brotli, .zstd, .gzip]) -> ContentCoding? {
        var accepted = AcceptEncoding()
        for field in fields { accepted.add(bytes(field).span) }
        return accepted.choose(codings)
    }

    @Test(
        arguments: [
            ([], nil), ([""], nil), (["gzip"], .gzip), (["gzip, br"], .brotli), (["gzip", "zstd"], .zstd), (["GZip;Q=0.5"], .gzip),
            (["br;q=0.5, gzip;q=0.9"], .gzip), (["br;q=0, *"], .zstd), (["*"], .brotli), (["*;q=0"], nil), (["gzip;q=0"], nil),
            (["identity, gzip;q=0.5"], nil), (["identity;q=0.5, gzip"], .gzip), (["identity;q=0"], nil), (["x-gzip"], .gzip),
            (["gzip;q=1.001"], nil), (["gzip;q=0.0001"], nil), (["gzip; q=0.001"], .gzip), (["gzip;q="], nil),
            (["gzip;level=9"], nil),
            (["compress, sdch"], nil), ([",,, gzip ,"], .gzip), (["gzip br"], nil),
        ] as [([String], ContentCoding?)])
    func theClientIsTakenAtItsWord(fields: [String], coding: ContentCoding?) { #expect(chosen(fields) == coding) }

    @Test func onlyWhatTheGatewayOffersIsChosen() {
        #expect(chosen(["br, gzip"], [.gzip]) == .gzip)
        #expect(chosen(["br"], [.gzip]) == nil)
        #expect(chosen(["gzip, br"], [.gzip, .brotli]) == .gzip)
    }

    @Test func codingsOfABodyAreReadInTheirOrder() {
        var list: [ContentCoding] = []
        #expect(ContentCodingList.add(bytes("Gzip, identity ,br").span, to: &list) && list == [.gzip, .brotli])
        #expect(ContentCodingList.add(bytes("").span, to: &list) && list.count == 2)
        #expect(ContentCodingList.add(bytes("zstd").span, to: &list) && list.count == 3)
        #expect(!ContentCodingList.add(bytes("gzip").span, to: &list), "a fourth")
        var other: [ContentCoding] = []
        #expect(!ContentCodingList.add(bytes("compress").span, to: &other))
    }
}
