// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP

/// How large a request of one route may be. Lengths that are announced are judged by the announcement, others as the bytes come.
final class LimitsFilter: Filter {
    private let bodyBytes: UInt64?
    private let headerBytes: Int?
    private let uriBytes: Int?

    init(_ settings: Configuration.LimitsFilter) {
        bodyBytes = settings.bodyBytes.map { UInt64($0) }
        headerBytes = settings.headerBytes
        uriBytes = settings.uriBytes
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
        return .next
    }
}
