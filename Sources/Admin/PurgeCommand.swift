// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Core

/// What an operator wants the cache to forget: `url=https://host/path?query` (percent-encoded; every variant of it), `tag=…` (of
/// `Surrogate-Key` or `Cache-Tag`), or `all=true`. One of them.
struct PurgeCommand {
    struct Problem: Error {
        let text: String
    }

    private enum Target {
        case key(CacheKey)
        case tag(String)
        case all
    }

    private let target: Target
    /// For the log.
    let what: String

    init(_ items: QueryItems) throws(Problem) {
        if let name = items.unknown(beside: ["url", "tag", "all"]) {
            throw Problem(text: "there is no parameter \(name); known are url, tag and all")
        }
        switch (items["url"], items["tag"], items["all"]) {
        case (let url?, nil, nil):
            guard let key = CacheKey(uri: url) else {
                throw Problem(
                    text: "url is \(url); expected a whole one such as https://www.example.com/path?query, percent-encoded")
            }
            target = .key(key)
            what = url
        case (nil, let tag?, nil):
            if tag.isEmpty || tag.contains(where: { " ,\t".contains($0) }) {
                throw Problem(text: "tag is one word, without spaces and commas")
            }
            target = .tag(tag)
            what = "tag \(tag)"
        case (nil, nil, "true"):
            target = .all
            what = "all"
        case (nil, nil, _?): throw Problem(text: "all has to be true")
        default: throw Problem(text: "say one of url, tag and all=true")
        }
    }

    /// Returns how many answers there were.
    func perform(on store: CacheStore, now: Instant) -> Int {
        switch target {
        case .key(let key): store.purge(key, now: now)
        case .tag(let tag): store.purge(tag: tag, now: now)
        case .all: store.purgeAll(now: now)
        }
    }
}
