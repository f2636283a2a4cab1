// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import HTTP

/// What this cache did for a request, as Cache-Status says it (RFC 9211).
package struct CacheStatus: Sendable {
    package enum Forward: String, Sendable {
        case bypass, method, request, stale
        case uriMiss = "uri-miss"
        case varyMiss = "vary-miss"

        init(_ miss: CacheStore.Miss) {
            switch miss {
            case .uriMiss: self = .uriMiss
            case .varyMiss: self = .varyMiss
            case .stale: self = .stale
            case .request: self = .request
            }
        }
    }

    package var isHit = false
    package var forward: Forward?
    package var forwardStatus: Int?
    /// Seconds of freshness left, negative if it is stale.
    package var ttl: Int64?
    package var stored = false
    package var collapsed = false
    package var detail: String?

    package init() {}

    /// The member of this cache.
    package var text: [UInt8] {
        var text = "Holdfast"
        if isHit { text += "; hit" }
        if let forward { text += "; fwd=\(forward.rawValue)" }
        if let forwardStatus { text += "; fwd-status=\(forwardStatus)" }
        if let ttl { text += "; ttl=\(ttl)" }
        if stored { text += "; stored" }
        if collapsed { text += "; collapsed" }
        if let detail { text += "; detail=\(detail)" }
        return Array(text.utf8)
    }

    /// Adds it behind those of the caches nearer to the origin (§2).
    package func append(to fields: inout FieldSection) { fields.append(name: CacheStatus.name.span, value: text.span) }

    private static let name = Array("cache-status".utf8)
}
