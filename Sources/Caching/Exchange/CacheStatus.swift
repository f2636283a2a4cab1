// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
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

    /// Adds this cache's member behind those of the caches nearer to the origin (§2).
    package func append(to fields: inout FieldSection) {
        let name = fields.store("cache-status")
        let start = fields.arena.count
        write(into: &fields.arena)
        fields.append(name: name, value: Slice(offset: start, length: fields.arena.count - start), known: .other)
    }

    /// The member alone.
    package var text: [UInt8] {
        var out = ByteBuffer()
        write(into: &out)
        return out.withReadable { [UInt8](copying: $0) }
    }

    private func write(into out: inout ByteBuffer) {
        out.append("Holdfast")
        if isHit { out.append("; hit") }
        if let forward {
            out.append("; fwd=")
            out.append(utf8: forward.rawValue)
        }
        if let forwardStatus {
            out.append("; fwd-status=")
            out.append(decimal: forwardStatus)
        }
        if let ttl {
            out.append("; ttl=")
            out.append(decimal: Int(clamping: ttl))
        }
        if stored { out.append("; stored") }
        if collapsed { out.append("; collapsed") }
        if let detail {
            out.append("; detail=")
            out.append(utf8: detail)
        }
    }
}
