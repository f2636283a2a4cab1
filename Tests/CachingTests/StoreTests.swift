// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Caching

/// The store's bound, whom it lets go first, tags and purging.
@Suite struct StoreTests {
    static func fill(_ edge: Edge, _ path: String, bytes: Int = 100, tags: String = "") {
        let body = String(repeating: "x", count: bytes)
        _ = edge.send(Asked("GET", path)) { _ in
            tags.isEmpty
                ? Answered(200, "Cache-Control: max-age=600", body: body)
                : Answered(200, "Cache-Control: max-age=600", "Surrogate-Key: \(tags)", body: body)
        }
    }

    static func has(_ edge: Edge, _ path: String) -> Bool {
        edge.store.peek(CacheKey(Asked("GET", path).head, isSecure: true), Array("route".utf8), Asked("GET", path).head) != nil
    }

    @Test func theBoundHolds() {
        let edge = Edge(bytes: 64 << 10)
        for i in 0..<1_000 {
            StoreTests.fill(edge, "/\(i)", bytes: 100 + i % 5_000)
            #expect(edge.store.usage.bytes <= 64 << 10)
        }
        #expect(edge.store.usage.answers > 5 && edge.store.usage.evictions > 900)
        edge.store.setLimit(bytes: 8 << 10)
        #expect(edge.store.usage.bytes <= 8 << 10 && edge.store.usage.limit == 8 << 10)
    }

    @Test func aScanDoesNotPushOutWhatIsAskedForTwice() {
        let edge = Edge(bytes: 64 << 10)
        for i in 0..<10 {
            StoreTests.fill(edge, "/kept/\(i)")
            _ = edge.send(Asked("GET", "/kept/\(i)")) { _ in nil }
        }
        for i in 0..<1_000 { StoreTests.fill(edge, "/scan/\(i)") }
        for i in 0..<10 { #expect(StoreTests.has(edge, "/kept/\(i)")) }
        #expect(!StoreTests.has(edge, "/scan/0") && StoreTests.has(edge, "/scan/999"))
    }

    /// n new, t touched, r removed; then the order in which they would go.
    @Test(arguments: [
        ("n0 n1 n2", "0 1 2"), ("n0 n1 n2 t0", "1 2 0"), ("n0 n1 t0 t1 n2", "2 0 1"), ("n0 n1 n2 t0 t1 t0", "2 1 0"),
        ("n0 n1 n2 r1", "0 2"), ("n0 t0 r0 n1", "1"),
        // The protected segment holds four of ten: a fifth sends its oldest back, in front of those never asked for again.
        ("n0 n1 n2 n3 n4 n5 t0 t1 t2 t3 t4", "5 0 1 2 3 4"),
    ])
    func segmentedLRU(script: String, order: String) {
        var lru = SegmentedLRU(limit: 5)
        var slots: [String: Int] = [:]
        for step in script.split(separator: " ") {
            let name = String(step.dropFirst())
            switch step.first {
            case "n": slots[name] = lru.insert(cost: 1)
            case "t": lru.touch(slots[name]!)
            default: lru.remove(slots.removeValue(forKey: name)!)
            }
        }
        var found: [String] = []
        while let oldest = lru.oldest {
            found.append(slots.first { $0.value == oldest }!.key)
            lru.remove(oldest)
        }
        #expect(found.joined(separator: " ") == order)
        #expect(lru.bytes == 0)
    }

    @Test func segmentedLRUAgainstLists() {
        var random = Seed.current.random(3)
        var lru = SegmentedLRU(limit: 100)
        var probation: [(slot: Int, cost: Int)] = []
        var protected: [(slot: Int, cost: Int)] = []
        for _ in 0..<20_000 {
            switch random.below(10) {
            case 0..<4:
                let cost = 1 + random.below(9)
                probation.append((lru.insert(cost: cost), cost))
            case 4..<8:
                guard let item = (probation + protected).randomElement(using: &random) else { continue }
                lru.touch(item.slot)
                probation.removeAll { $0.slot == item.slot }
                protected.removeAll { $0.slot == item.slot }
                protected.append(item)
                while protected.reduce(0, { $0 + $1.cost }) > 80, protected.count > 1 { probation.append(protected.removeFirst()) }
            default:
                guard let oldest = lru.oldest else { continue }
                #expect(oldest == (probation.first ?? protected.first)?.slot)
                lru.remove(oldest)
                if probation.isEmpty { protected.removeFirst() } else { probation.removeFirst() }
            }
            #expect(lru.bytes == (probation + protected).reduce(0) { $0 + $1.cost })
        }
    }

    @Test func purging() {
        let edge = Edge()
        for (path, tags) in [("/a", "red blue"), ("/b", "blue"), ("/c", "green"), ("/d", "")] {
            StoreTests.fill(edge, path, tags: tags)
        }
        edge.advance(1)
        #expect(edge.store.purge(tag: "blue", now: edge.now) == 2)
        #expect(!StoreTests.has(edge, "/a") && !StoreTests.has(edge, "/b") && StoreTests.has(edge, "/c"))
        #expect(edge.store.purge(tag: "blue", now: edge.now) == 0 && edge.store.purge(tag: "re", now: edge.now) == 0)
        #expect(edge.store.purge(CacheKey(uri: "HTTPS://A.example/d")!, now: edge.now) == 1)
        #expect(edge.store.purgeAll(now: edge.now) == 1 && edge.store.usage.answers == 0 && edge.store.usage.bytes == 0)
    }

    @Test(arguments: ["a.example/x", "/x", "ftp://a.example/", "https://", ""])
    func whatIsNoURIIsNoKey(text: String) { #expect(CacheKey(uri: text) == nil) }

    @Test func ofOneKeyNoMoreVariantsThanTheLimit() {
        let edge = Edge()
        for i in 0..<200 {
            _ = edge.send(Asked("GET", "/", "X-A: \(i)")) { _ in Answered(200, "Cache-Control: max-age=60", "Vary: X-A") }
        }
        #expect(edge.store.usage.answers == CacheShard.variantLimit)
    }

    @Test func whatArrivesIsBoundedToo() {
        let store = CacheStore(bytes: 1 << 20)
        #expect(store.reserve(300_000) && !store.reserve(300_000) && store.reserve(200_000))
        store.release(500_000)
        #expect(store.reserve(500_000))
    }
}
