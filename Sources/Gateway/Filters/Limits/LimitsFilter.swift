// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Compression
import Configuration
import Core
import HTTP

/// How large a request of one route may be. Lengths that are announced are judged by the announcement, others as the bytes come.
final class LimitsFilter: Filter {
    private let bodyBytes: UInt64?
    private let headerBytes: Int?
    private let uriBytes: Int?
    private let decompressedBytes: UInt64?

    init(_ settings: Configuration.LimitsFilter) {
        bodyBytes = settings.bodyBytes.map { UInt64($0) }
        headerBytes = settings.headerBytes
        uriBytes = settings.uriBytes
        decompressedBytes = settings.decompressedBytes.map { UInt64($0) }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        let head = pass.head
        if let uriBytes, Int(head.path.length) + (head.hasQuery ? 1 + Int(head.query.length) : 0) > uriBytes {
            return .refuse(
                FilterRefusal(
                    .requestURITooLong, detail: "path and query are longer than \(uriBytes) bytes, the limit of this route"))
        }
        if let headerBytes, head.fields.size > headerBytes {
            return .refuse(
                FilterRefusal(
                    .requestHeaderTooLarge,
                    detail: "the header fields are larger than \(headerBytes) bytes, the limit of this route"))
        }
        if let bodyBytes {
            if case .length(let n) = head.framing, n > bodyBytes {
                return .refuse(
                    FilterRefusal(
                        .requestBodyTooLarge, detail: "the body is longer than \(bodyBytes) bytes, the limit of this route"))
            }
            pass.bodyLimit = bodyBytes
        }
        if let decompressedBytes, head.framing != .none { return watchSize(pass, decompressedBytes) }
        return .next
    }

    /// Has what the body becomes counted as it passes.
    private func watchSize(_ pass: FilterPass, _ limit: UInt64) -> FilterStep {
        var codings: [ContentCoding] = []
        var i = pass.head.fields.first(.contentEncoding)
        while let at = i {
            guard pass.head.fields.withValue(at, { ContentCodingList.add($0, to: &codings) }) else {
                var refusal = FilterRefusal(
                    .requestContentCoding,
                    detail: "the body is in a content coding whose size cannot be known, or in more than \(ContentCodingList.most)")
                refusal.fields = [("accept-encoding", Array("gzip, deflate, br, zstd".utf8))]  // RFC 9110 §15.5.16
                return .refuse(refusal)
            }
            i = pass.head.fields.first(.contentEncoding, from: at + 1)
        }
        if codings.isEmpty {
            pass.bodyLimit = min(pass.bodyLimit ?? .max, limit)
            if case .length(let n) = pass.head.framing, n > limit { return .refuse(DecodedSizeTap.refusal(.tooLarge, limit)) }
            return .next
        }
        do throws(DecodedSizeProblem) {
            pass.watchBody(DecodedSizeTap(try DecodedSize(codings, limit: limit), limit: limit))
        } catch { return .refuse(DecodedSizeTap.refusal(error, limit)) }
        return .next
    }
}

/// Counts what a body becomes while it passes; not a byte of it is changed.
private final class DecodedSizeTap: RequestTap {
    private let size: DecodedSize
    private let limit: UInt64

    init(_ size: DecodedSize, limit: UInt64) {
        self.size = size
        self.limit = limit
    }

    func body(_ bytes: Span<UInt8>) -> FilterRefusal? {
        do throws(DecodedSizeProblem) { try size.add(bytes) } catch { return DecodedSizeTap.refusal(error, limit) }
        return nil
    }

    func end() -> FilterRefusal? {
        do throws(DecodedSizeProblem) { try size.finish() } catch { return DecodedSizeTap.refusal(error, limit) }
        return nil
    }

    static func refusal(_ problem: DecodedSizeProblem, _ limit: UInt64) -> FilterRefusal {
        switch problem {
        case .tooLarge:
            FilterRefusal(
                .requestBodyTooLarge, detail: "the body is longer than \(limit) bytes once it is decoded, the limit of this route")
        case .malformed: FilterRefusal(.requestMalformed, detail: "the body is not in the content coding that it is said to be in")
        case .memory: FilterRefusal(.localResources, detail: "there is no memory to look into the body")
        }
    }
}
