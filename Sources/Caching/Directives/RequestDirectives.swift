// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// What a request's Cache-Control asks for (RFC 9111 §5.2.1, and `stale-if-error` of RFC 5861 §4).
package struct RequestDirectives: Equatable, Sendable {
    package enum MaxStale: Equatable, Sendable {
        case none
        /// However stale.
        case any
        case seconds(Int64)
    }

    package var noCache = false
    package var noStore = false
    package var onlyIfCached = false
    package var maxAge = DeltaSeconds.absent
    package var minFresh = DeltaSeconds.absent
    package var maxStale = MaxStale.none
    package var staleIfError = DeltaSeconds.absent
    private(set) var isEmpty = true

    package init() {}

    package mutating func read(_ field: Span<UInt8>) {
        var position = 0
        while let item = DirectiveList.next(field, &position) {
            isEmpty = false
            take(item, field)
        }
    }

    private mutating func take(_ item: DirectiveList.Item, _ field: Span<UInt8>) {
        let name = field.extracting(item.name)
        switch name.count {
        case 7: if name.equalsIgnoringCase("max-age") { maxAge.merge(item, in: field) }
        case 8:
            if name.equalsIgnoringCase("no-store") { noStore = true }
            if name.equalsIgnoringCase("no-cache") { noCache = true }
        case 9:
            if name.equalsIgnoringCase("min-fresh") { minFresh.merge(item, in: field) }
            if name.equalsIgnoringCase("max-stale"), !item.isMalformed {
                if let range = item.value {
                    if let seconds = DeltaSeconds.read(field.extracting(range)).permitted { maxStale = .seconds(seconds) }
                } else {
                    maxStale = .any
                }
            }
        case 14:
            if name.equalsIgnoringCase("only-if-cached") { onlyIfCached = true }
            if name.equalsIgnoringCase("stale-if-error") { staleIfError.merge(item, in: field) }
        default: break
        }
    }
}
