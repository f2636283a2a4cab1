// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Maps keys to endpoints such that a key keeps its endpoint: over restarts, on every gateway, whatever the order in which the
/// endpoints are listed (L6), and mostly even when one comes or goes (semantics, section 9).
///
/// Rule: each endpoint goes through the 65,537 places in an order of its own, made from its name, and they take turns at
/// claiming the next one that is free; an endpoint of less weight sits out turns. A key's place is its hash. Removing one of n
/// moves its own keys and few others. Statistic: shares differ from the weights' by about one place a turn, below 1 % for up to
/// 600 endpoints. Cold start: built whole from the names, a few milliseconds; immutable. Recovery: an endpoint that is out
/// keeps its places, so that it gets its keys back (``EndpointPicker/pick(key:table:tried:load:)`` goes on to another).
/// Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4; weights as
/// in Envoy.
///
/// 128 KiB a table. At most 65,535 endpoints; further ones get no key.
public struct MaglevTable: Equatable, Sendable {
    /// Prime, so that every step visits every place.
    public static let size = 65_537

    /// The endpoint of each place, empty where there are no endpoints.
    let places: [UInt16]
    public let endpointCount: Int

    /// - Parameters:
    ///   - names: of the endpoints, by index, such as `10.0.0.1:80`. Equal ones take turns on one way through the places.
    ///   - weights: by index; those below 1 count as 1, missing ones too, and none as more than 1,000,000.
    public init(names: [String], weights: [Int] = []) {
        self.init(names: names, weights: weights, size: Self.size)
    }

    /// For tests: any prime below 65,538 as the number of places.
    init(names: [String], weights: [Int] = [], size: Int) {
        endpointCount = min(names.count, Int(UInt16.max))
        if endpointCount == 0 {
            places = []
            return
        }
        var claims = Self.claims(Array(names.prefix(endpointCount)), weights, size: size)
        let heaviest = claims.reduce(1) { max($0, $1.weight) }
        let free = UInt16.max
        var places = Array(repeating: free, count: size)
        var left = size
        var turn = 0
        while left > 0 {
            turn += 1
            for position in claims.indices where left > 0 {
                // Its n-th place is due once n heaviest weights fit into as many turns of its own.
                if turn * claims[position].weight < claims[position].due { continue }
                claims[position].due += heaviest
                while places[claims[position].place] != free { claims[position].advance(size) }
                places[claims[position].place] = UInt16(claims[position].endpoint)
                left -= 1
            }
        }
        self.places = places
    }

    /// The endpoint of a key's hash; `nil` if there are none.
    public subscript(key: UInt64) -> Int? { places.isEmpty ? nil : Int(places[place(of: key)]) }

    // MARK: Walking

    /// The n-th endpoint to ask for a key, 0 being its own: the places at equal steps from it, by a second hash. An endpoint
    /// may come up more than once.
    func endpoint(_ n: Int, for key: UInt64) -> Int? {
        if places.isEmpty { return nil }
        let step = 1 + Int(truncatingIfNeeded: StableHash.mix(key).multipliedFullWidth(by: UInt64(places.count - 1)).high)
        return Int(places[(place(of: key) + n % places.count * step) % places.count])
    }

    private func place(of key: UInt64) -> Int {
        Int(truncatingIfNeeded: key.multipliedFullWidth(by: UInt64(places.count)).high)
    }

    // MARK: Building

    /// One endpoint's way through the places.
    private struct Claim {
        var endpoint: Int
        var weight: Int
        var place: Int
        var step: Int
        var due: Int

        mutating func advance(_ size: Int) {
            place += step
            if place >= size { place -= size }
        }
    }

    /// In the order of the names, so that the table does not depend on that of the list.
    private static func claims(_ names: [String], _ weights: [Int], size: Int) -> [Claim] {
        let bytes = names.map { Array($0.utf8) }
        let order = bytes.indices.sorted { left, right in
            bytes[left] == bytes[right] ? left < right : bytes[left].lexicographicallyPrecedes(bytes[right])
        }
        var claims: [Claim] = []
        for endpoint in order {
            func hash(_ salt: UInt64) -> UInt64 {
                var hash = StableHash(salt: salt)
                for byte in bytes[endpoint] { hash.combine(byte) }
                return hash.finalize()
            }
            let weight = endpoint < weights.count ? min(max(weights[endpoint], 1), 1_000_000) : 1
            claims.append(
                Claim(
                    endpoint: endpoint, weight: weight, place: Int(hash(1) % UInt64(size)),
                    step: 1 + Int(hash(2) % UInt64(size - 1)), due: 0))
        }
        let heaviest = claims.reduce(1) { max($0, $1.weight) }
        for position in claims.indices { claims[position].due = heaviest }
        return claims
    }
}
